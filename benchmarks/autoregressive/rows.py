"""Rows of docs/autoregressive.md: what each is, what is wanted, and what was published."""

from dataclasses import dataclass

FIXED, DYNAMIC = "other fixed bits, 50,000 training images", "bits drawn anew each epoch, easier by 2 to 3 nats"
GENERATIVE = "README of EugenHotaj/pytorch-generative"


@dataclass(frozen=True)
class Row:
    """A row of the page.

    Attributes:
        name: In the record.
        what: In words.
        wanted: Its target; "/": what would be better still.
        published: Figures of others, with their budget, data and where they were read.
    """

    name: str
    what: str
    wanted: str = ""
    published: str = ""


FIXED_BITS = (
    Row(
        "FVBN",
        "{py:class}`~ppgen.models.FullyVisibleBeliefNet`",
        "-97.5",
        f"-97.45 ({FIXED}; recalled, not confirmed); -96.58 in 50 epochs ({DYNAMIC}; {GENERATIVE})",
    ),
    Row(
        "NADE",
        "{py:class}`~ppgen.models.NADE`, 500 units",
        "-91 / -89.5",
        f"-88.33, 500 units ({FIXED}; as others quote it); -85.65 in 50 epochs ({DYNAMIC}; {GENERATIVE})",
    ),
    Row(
        "MADE",
        "{py:class}`~ppgen.models.MADE`, 1,000 units, one order",
        "-90 / -88",
        f"-88.40, one layer, one mask ({FIXED}; recalled, not confirmed); -84.87, 8,000 units, 85 epochs "
        f"({DYNAMIC}; {GENERATIVE})",
    ),
    Row(
        "16 orders, MADE",
        "MADE, two layers of 1,000 units, the mixture of 16 orders",
        "-90 / -88",
        f"-86.64, two layers of 8,000 units, 32 masks, until 30 epochs gain nothing ({FIXED}; as others quote it)",
    ),
    Row(
        "PixelCNN",
        "{py:class}`~ppgen.models.PixelCNN`, 6 blocks of 16 maps",
        "-86.5 / -84.5",
        f"-81.30, 15 blocks of 128 maps ({FIXED}; as others quote it); -81.45 in 457 epochs ({DYNAMIC}; {GENERATIVE})",
    ),
    Row(
        "gated PixelCNN",
        "{py:class}`~ppgen.models.GatedPixelCNN`, 6 layers of 16 maps",
        "-86 / -84",
        f"-81.50, 10 layers of 128 maps ({DYNAMIC}; {GENERATIVE})",
    ),
)
GREY = (
    Row("digits, PixelCNN", "digits, 8 x 8, 17 levels: PixelCNN", "1.78 / 1.65"),
    Row("digits, gated PixelCNN", "the same: gated PixelCNN", "1.78 / 1.65"),
    Row("mnist, PixelCNN, logistic", "MNIST, 256 levels: PixelCNN, mixtures of 10 logistic laws", "1.1 / 1.0"),
    Row("mnist, PixelCNN, categorical", "the same: a probability for each level", "1.1 / 1.0"),
)
CLASSES = (
    Row(
        "class-conditional gated PixelCNN",
        "{py:class}`~ppgen.models.ClassConditionalPixelCNN`, 6 layers of 16 maps",
        "3 / 2 %",
    ),
)
PIXEL_RNN = tuple(
    Row(f"{size}, {name}", f"{size.replace('x', ' x ')}: {what}", "" if name == "PixelCNN" else "above PixelCNN")
    for size in ("8x8", "14x14")
    for name, what in (
        ("PixelCNN", "PixelCNN"),
        ("row LSTM", "{py:class}`~ppgen.models.PixelRNN`, row LSTM"),
        ("diagonal", "PixelRNN, diagonal LSTMs"),
    )
)
PATCHES = (
    Row("patches, Gaussian", "patches: Gaussian, full covariance"),
    Row("patches, mixture", "patches: scikit-learn's mixture of 20 Gaussians, full covariances"),
    Row(
        "patches, RNADE, normal",
        "patches: {py:class}`~ppgen.models.RNADE`, 256 units, 10 Normal components",
        "above both",
    ),
    Row("patches, RNADE, laplace", "patches: RNADE, 256 units, 10 Laplace components", "above both"),
    Row("wine, Gaussian", "wine: Gaussian, full covariance"),
    Row("wine, mixture of 2", "wine: scikit-learn's mixture of 2, ridge chosen on validation wines"),
    Row("wine, RNADE", "wine: RNADE, 20 units, 1 or 2 components", "reported"),
)
SAMPLING = (
    Row("draws, MADE", "100 draws of MADE, 500 units", "60 / 300 times; 15 passes at most; 4 s"),
    Row("draws, NADE", "100 draws of NADE, 500 units", "15 passes at most; 4 s"),
    Row("draws, PixelCNN", "100 draws of PixelCNN, 28 x 28", "50 / 100 times; 15 passes at most; 4 s"),
    Row("draws, gated PixelCNN", "100 draws of gated PixelCNN, 28 x 28", "15 passes at most; 4 s"),
    Row("op, NADE", "value and gradient of NADE, 100 rows, beside a Python loop", "5 times"),
    Row("step, MADE", "compiled step of MADE beside a loop by hand", "0.8"),
    Row("step, PixelCNN", "compiled step of PixelCNN beside a loop with the same network", "0.8"),
)
