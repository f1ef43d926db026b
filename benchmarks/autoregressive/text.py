"""Words of docs/autoregressive.md."""

PREFACE = """\
# Exact likelihoods

<!-- Written by benchmarks/autoregressive/page.py from benchmarks/results; edits are lost. -->

What the autoregressive models of ppgen reach on one core, beside published figures and beside rivals, and what their
draws and steps cost. All of them have exact log-likelihoods, so that the only error of a figure is that of its test
rows: what stands behind ± is the standard error of the mean over them. Settings and epochs are chosen on validation
rows and never on test rows; the record of each row has every candidate. Each command goes on where it was stopped, and
`--rows NAME` measures the rows alone whose names begin so.
"""

FIGURES = """\
## Figures

Figures of the lectures made again with small networks on scikit-learn's digits, 8 x 8, cut at a threshold: no number
below one is that of a benchmark. `python -m benchmarks.autoregressive.figure_records` trains what they are drawn from,
two minutes of one core; `python -m benchmarks.autoregressive.figures` draws them and trains nothing.
"""

FIXED_BITS = """\
## MNIST, fixed bits

log p(x) in nats, higher is better, of 10,000 test images of `mnist_fixed_binarized.npz`: one fixed draw of bits from
the grey levels, of which 55,000 images train and 5,000 choose. The published figures are of other bits and another
split: they say what is to be expected, and a difference of a few tenths from them says nothing.
"""

GREY = """\
## Grey levels

Bits per dimension, -log p(x) / (D ln 2) of a discrete law over the levels, lower is better. Nothing is added for a
scale and no noise to the levels, so that a uniform law has log2 17 = 4.09 and log2 256 = 8.
"""

CLASSES = """\
## Classes by Bayes' rule

Error in % of the class under which the image is most probable, all classes being as probable beforehand, on 10,000 test
images of MNIST, whose bits were drawn once (`binarize="fixed"`). Nothing was trained to classify.
"""

PIXEL_RNN = """\
## Recurrent pixels

log p(x) in nats, higher is better, of networks with 17,000 to 18,600 parameters each, PixelCNN with the most. `8 x 8`
are scikit-learn's digits cut at a threshold, 300 test images, three seeds; `14 x 14` is MNIST, means of four pixels cut
at a half, one seed. Differences are paired by test image.
"""

PATCHES = """\
## Real numbers

log p(x) in nats, higher is better. `patches`: the first 63 numbers of white 8 x 8 patches of two photographs, less
their mean; no test patch shares a pixel with a training patch, but test patches overlap, so that errors, which count
them as independent, are too small. Differences are paired by patch. `wine`: 178 wines, 13 standardised numbers, ten
folds.
"""

SAMPLING = """\
## What draws and steps cost

One thread, processor times, contenders in turns: medians of the ratios of neighbours, in brackets the smallest and the
largest. Full passes are what a draw costs without a state: one pass of the network for each of the 784 entries; each
repeat times five of them, and whole draws of both kinds were equal bit for bit where the row says so.
"""
