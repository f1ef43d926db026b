"""Words of docs/codes.md."""

PREFACE = """\
# Sparse codes and autoencoders

<!-- Written by benchmarks/codes/page.py from benchmarks/results; edits are lost. -->

Figures of the lectures on codes made again with {py:class}`~ppgen.models.SparseCoding`,
{py:class}`~ppgen.models.Autoencoder` and {py:class}`~ppgen.models.DenoisingAutoencoder`, and what the benchmarks of
`benchmarks/codes` have measured so far. `python -m benchmarks.codes.figure_records` trains what the figures are drawn
from, a minute and a half of one core; `python -m benchmarks.codes.figures` draws them from these records and trains
nothing. The networks of the figures are small ones: no number below a figure is that of a benchmark.
"""

# Of the figures that are kept: whoever draws them anew looks again.
SEEN: dict[str, tuple[str, str]] = {
    "atoms": (
        "A dictionary of photographs",
        """\
{atoms} atoms of 12 x 12 pixels learned from {train:,} white patches of two photographs, penalty {penalty:g}, {epochs}
epochs; the whitening undone, each atom divided by its largest magnitude, those that most test patches use first. A
test patch has {nonzero:.1f} codes that are not zero; {dead} atoms are used by none. {oriented:.0%} of the atoms have
more of their power in one orientation than 99 % of noise filters. What is seen: among the atoms used most are clean
edges and bars, many along the border of a patch, upright or lying; about a fifth of all are such. The least used
ones, in the last row, are gratings of one orientation, slanted ones above all. Most atoms between are fine textures
that look like noise to the eye: one photograph is a temple full of small ornaments, and whitening lifts what is fine.
These are not the clean edges that larger collections of photographs give.""",
    ),
    "decomposition": (
        "Patches as weighted sums of three atoms",
        """\
Three held-out patches of the same dictionary, each with the three atoms of its largest codes, their sum, and the sum
over all codes; the percentages are shares of the white patch's square. They are the patches, of those with more
contrast than the median, that three atoms explain best, no two of them alike: what is possible, not what is usual.
What is seen: the first is the dark corner of one atom with its sign turned around, corrected by two small ones; the
second and the third share atom 4, an upright edge. One atom has most of the weight in each, and the three together
are the patch but for its fine shades.""",
    ),
    "faces": (
        "Held-out faces in 30 numbers",
        """\
{test} faces that were not learned from; an autoencoder of 625-{hidden[0]}-{hidden[1]} units trained for {epochs}
epochs on {train} faces, mirrored, moved by up to {shift} pixels and with noise of sd {level:g}, the epoch chosen on
{valid} more; and principal components of these {train} + {valid} faces. Squared errors are summed over pixels and
averaged over faces: {errors[autoencoder]:.2f} and {errors[components]:.2f}; components of the mirrored and moved
faces too, from which the autoencoder learns, have {errors[components, moved]:.2f}. With the same faces to learn from
they are ahead of it. The network of the paper, 625-2000-1000-500-30 (Hinton and Salakhutdinov, 2006: 126 beside 135,
on other faces and in other units), is too dear for a picture. What is seen: the autoencoder's faces are soft, and
those of a type; it keeps the light on either side and where hair and brow are, and loses what is fine, mouths with
teeth among it. Components are sharper and often wrong, with grain and lines that the face does not have. The smaller
error of the two is that of blur.""",
    ),
    "filters": (
        "Filters of denoising autoencoders at 0, 25 and 50 %",
        """\
Weights of {units} sigmoid units, tied, of MNIST digits with that share of their pixels masked; {train:,} images,
{epochs} epochs, one seed for all, the 49 largest of each. Median over all units of the share of a filter's power in
one orientation: {levels[0%][oriented]:.3f}, {levels[25%][oriented]:.3f} and {levels[50%][oriented]:.3f}; of the
pixels that its power is spread over: {levels[0%][pixels]:.0f}, {levels[25%][pixels]:.0f} and
{levels[50%][pixels]:.0f}; squared error of clean test images: {levels[0%][error]:.1f}, {levels[25%][error]:.1f} and
{levels[50%][error]:.1f}. What is seen: at 0 % loops and wavy stripes over the whole image, as of several strokes at
once; at 25 % hardly another picture; at 50 % more single blobs and short strokes on an even ground (the first of the
second row, the fifth of the last), though most filters still have several. That filters grow with the noise, which
the slides show, is not seen here, after a short training of few units.""",
    ),
    "codes": (
        "Digits in two numbers",
        """\
Codes of 2,000 test digits of MNIST: an autoencoder of 784-{hidden[0]}-{hidden[1]}-{hidden[2]} units from a random
start, {train:,} images, {epochs} epochs; and the first two principal components of the same images. Squared error of
all {test:,} test images {codes[autoencoder][error]:.1f} and {codes[principal components][error]:.1f}; the nearest
other code is one of the same digit for {codes[autoencoder][same]:.0%} and {codes[principal components][same]:.0%}.
The paper's network, 784-1000-500-250-2, was trained layer by layer first. What is seen: the autoencoder lays the
digits in rays from a crowded middle; 1, 0, 6 and 7 have rays of their own, 4 and 9 share one, and 3, 5 and 8 lie on
top of each other in the middle. The components have 1 and 0 at two ends, and all others in one cloud.""",
    ),
}
"""Title of each figure, and what is told and seen of it."""

CALTECH = """\
## The table of the slides

| features | Caltech101, 15 training images a class, accuracy in % | here |
|---|---|---|
| raw pixels | 16 | not at hand |
| principal components | 37 | not at hand |
| sparse codes | 47 | not at hand |

The figures are those of Raina, Battle, Lee, Packer and Ng (2007) as the slides quote them. Caltech101 is not at hand
here, so that none of the three can be measured and no figure of ours stands beside them. What is nearest to it among
what is at hand, features learned without labels for a classifier with few of them, is MNIST with 1,000 labels, errors
in %: {labels}. Other images and another number of labels: these are not comparable with the table.
"""
