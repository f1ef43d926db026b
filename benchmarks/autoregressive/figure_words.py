"""What is seen in the figures of docs/autoregressive.md: whoever draws them anew looks again."""

SEEN: dict[str, str] = {
    "completions": """\
Upper halves of twelve test digits, five exact completions of each, the mean of {completions}, and the digits in full:
{{py:class}}`~ppgen.models.GatedPixelCNN` of {layers} layers and {channels} channels, {epochs} epochs at most on 1,297
digits of 8 x 8 bits, the epoch chosen on validation rows; {nats:.2f} nats on all test rows. What is seen: a half is
completed in several ways, and strokes go on where they were cut. The first one, a 7, is three times a 7, once nearer to
a 9 and once to a 3; the 5 of the ninth column is closed to a 6 by the first and third draw. Grey in the mean is what
the upper half does not settle. Some draws are no digit at all.""",
    "five": """\
Sixteen test digits, and sixteen draws of each of five models, all made from the same uniform numbers. Exact log p(x) of
the 300 test rows, in nats: fully visible belief net {nats[FullyVisibleBeliefNet][nats]:.2f}, NADE
{nats[NADE][nats]:.2f}, MADE in four orders {nats[MADE][nats]:.2f}, gated PixelCNN {nats[GatedPixelCNN][nats]:.2f},
PixelRNN (row LSTM) {nats[PixelRNN][nats]:.2f}, each ± {nats[NADE][data_se]:.1f}; sizes differ, and none was tuned.
What is seen: columns look alike in the models that read row by row, as they turn the same numbers into pixels. Strokes
of the belief net come apart, those of the convolutions hold together. It takes goodwill to read most draws of the first
three.""",
    "rows": """\
Six draws of the gated PixelCNN above, a row of pixels more in each column; what is not drawn yet is in colour. What is
seen: the first rows of all draws are much the same, a cap of a few pixels, and leave every digit open. After four rows
the second draw is a 9; what the others become is open until the last two or three.""",
    "progress": """\
One draw after so many pixels, and below it what the model expects of the whole image at that moment: the mean of
{completions} exact completions. What is seen: the mean begins as a blur of all digits, and becomes the digit line by
line. After 32 pixels the upper half is that of a 2, a 3 or a 7, and the lower one is grey still; each row that is drawn
settles those next to it.""",
    "classes": """\
Twelve draws of each class: {{py:class}}`~ppgen.models.ClassConditionalPixelCNN`, the same network whose layers hear the
class, {epochs} epochs at most. By Bayes' rule it misses {error:.1%} of the test digits; of the draws it gives back the
class for {agreed:.0%}. What is seen: lines are of their digit, in several hands; zeros are often
broken, three of the twelve are closed rings, and nothing but the class says what the third 3 is.""",
    "blind_spot": """\
The largest derivative, over eight images, of the logit of one pixel in each pixel before it: a PixelCNN and a gated one
of {layers} layers of 3 x 3 squares on 9 x 9 images, random weights. What is seen: the plain network sees
{seen[PixelCNN]} of the 66 pixels before, the gated one {seen[GatedPixelCNN]}. The wedge to the upper right is exactly 0
in the plain one at any depth: a square may go one pixel up and one to the right, and never more to the right than up.
After the pixel all derivatives are exactly 0 in both.""",
    "anomalies": """\
Six test digits, and the same with four pixels of the second column turned around; below each the cost of a pixel,
-log p given those before it. They sum to -log p(x); log p(x) is {clean nats:.1f} nats on average, and {spoilt nats:.1f}
with the scratch. What is seen: the pixels of the scratch are dark, and those to the right of it darker than before, as
they do not go with it. Of the untouched digits only borders of strokes cost anything.""",
}
