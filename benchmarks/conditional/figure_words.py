"""What is seen in the figures of conditional models: whoever draws them anew looks again."""

SEEN: dict[str, str] = {
    "quadrants": """\
The lower left quadrant of twelve test digits, six completions of each, and the digits in full: a
{{py:class}}`~ppgen.models.ConditionalVAE` with {latent} latents and two layers of 300 units, {epochs} epochs on MNIST
with bits drawn anew each time. The quadrant is shown as it was given, in bits, the rest as the mean given a latent from
the network of the prior. What is seen: a 0, a 1 and a 7 are settled by their quadrant. What is given of the 2 is
completed to an 8, a 6 and a 3, that of the 4 to a 9 as well, that of the 9 to a 3 once.""",
    "styles": """\
Ten test digits, and each one's style in every class: the mean of the guide, decoded by a
{{py:class}}`~ppgen.models.ClassConditionalVAE` with {latent} latents ({epochs} epochs) given each class in turn. The
classifier of digits reads {read back:.1%} of 1,000 draws as the class that was asked for. What is seen: slant and
weight of the stroke stay along a line, as in those of the 0 and the 8. Styles that one class alone has do not carry
over: a 1 in the style of a 2 or a 3, and a 7 in that of a 6, come apart. With ten latents in the place of four, 59.6 %
of draws were read as asked for in as many epochs: the more the latent holds, the less the class has to say.""",
    "plane": """\
What each place of two latents stands for: a {{py:class}}`~ppgen.models.VAE` with two latents, {epochs[plane]} epochs on
MNIST; values of the latents are quantiles of their prior, so that each image stands for equally many draws. What is
seen: classes lie side by side with soft borders, 0 to 6 to 4, 3 to 9 to 7 to 1, and within a class the slant turns; 5
has but a corner on the right, as two numbers hold no more.""",
    "traversals": """\
One of ten latents moved from -3 to 3 while the others stay where the guide has a test digit, a slanted 3 that the model
takes half for an 8; the eight whose means spread most over test digits, most first. {{py:class}}`~ppgen.models.VAE`,
{epochs[vae]} epochs. What is seen: latent 8 is weight of the stroke, 9 slant, 5 and 4 change the class. Nothing in the
bound asks that one latent means one thing.""",
    "decoders": """\
An autoencoder and a VAE with the same networks and ten codes ({epochs[autoencoder]} and {epochs[vae]} epochs): both
rebuild test digits about as well, with squared errors of {autoencoder[error]:.1f} and {VAE[error]:.1f}. Noise decoded:
codes of the autoencoder have standard deviations from {autoencoder[spread][0]:.1f} to {autoencoder[spread][1]:.1f}, so
that noise from N(0, I) lies in one spot among them and gives a few shapes that are no digits. Noise with the mean and
spread of its codes is better, but independent as the codes are not; the VAE's draws are best. A warning beside it: the
classifier calls {autoencoder[none][noise]:.1%}, {autoencoder[none][scaled]:.1%} and {VAE[none][noise]:.1%} of these
draws none, and {data none:.1%} of test digits. It ranks the last three rightly, but takes most smears of the first,
which are like none that it was taught, for digits.""",
    "nearest": """\
Means of draws of the VAE above over the training digits that are nearest in pixels, and test digits over theirs. Draws
are nearer than test digits in {nearest[pixels]:.0%} of pairs, where 50 % would be alike. Of test digits 10 % lie within
5 of a training digit, nearly all of them ones, and of draws .2 %: the VAE copies nothing. Neighbours of faint or
smeared draws are ones, whatever the draw shows, as a digit with little ink is never far from anything.""",
    "nearest_features": """\
The same draws and test digits, by squared distance in the {{py:class}}`~ppgen.training.ImageClassifier`'s features.
Draws are nearer than test digits in {nearest[features]:.0%} of pairs: they lie apart from all data, since the
classifier sees that they are smeared, which pixels do not tell.""",
    "pixels": """\
Test digits, their copies one pixel to the right, and training digits of another class, with squared distances in pixels
to the digits above. Of {rows:,} test digits, {share nearer[pixels]:.1%} have a training digit of another class that is
nearer than the copy; in the classifier's features, {share nearer[features]:.2%}. That is why squared error in pixels is
no measure of what an image shows; the pairs are those where it errs most, one of each class. What is seen: the first 7
could be a 1, and the last digit, labelled 8, a 9; the other six are plain.""",
}
