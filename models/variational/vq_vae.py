"""Vector-quantised autoencoder with an autoregressive prior of its codes."""

import math
from collections.abc import Sequence
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.distributions import Autoregressive
from ppgen.models.parts.arguments import check_images, number_from_zero, positive_size, positive_sizes
from ppgen.models.parts.codebook_law import CodebookLaw, CodeOutput, nearest
from ppgen.models.parts.convolutional_coder import ConvolutionalCoder
from ppgen.models.parts.observation import Observation, refuse_words
from ppgen.models.parts.penalty import penalise
from ppgen.models.parts.programs import rows
from ppgen.nn import CategoricalNADE
from ppgen.pair import GenerativeModel

_LOOKED_AT = 2000  # training rows from whose vectors the codebook starts


class VQVAE(GenerativeModel):
    r"""Vector-quantised autoencoder: a grid of codes, each the nearest of a codebook, under an autoregressive prior.

    .. math:: c \sim \prod_i p(c_i \mid c_1, \dots, c_{i-1}), \quad x \sim p_\theta(x \mid e_{c_1}, \dots, e_{c_K}),
              \qquad c_i(x) = \arg\min_j \|f_i(x) - e_j\|, \qquad
              \log p(x) \ge \log p(x \mid c(x)) + \log p(c(x))

    Codes are discrete and the guide a point, whose probability is 1: the values of training are the bound above, an
    ELBO. Gradients pass from the decoder to the encoder straight through the choice of the code, and two terms count
    in training alone: those that draw the codebook to the encoder and the encoder to the codebook,

    .. math:: \sum_i \|\mathrm{stop}(f_i(x)) - e_{c_i}\|^2 + \beta \sum_i \|f_i(x) - \mathrm{stop}(e_{c_i})\|^2

    The prior's gradient is its own, so that one fit trains it too, on codes that still move; `training.fit_prior` goes
    on with it alone, codes fixed. Sites: `codes`, the vectors of the codes side by side, and `x`, in the plate `data`.

    References:
        | Neural Discrete Representation Learning (van den Oord, Vinyals and Kavukcuoglu, 2017)
        | https://arxiv.org/abs/1711.00937

    Args:
        shape: Rows and columns of the images, or channels, rows and columns.
        codes: Vectors of the codebook.
        code_size: Numbers of each.
        channels: Maps of the hidden layers.
        halvings: How often rows and columns are halved from the image to the grid of codes.
        prior_hidden: Hidden units of the prior's network.
        commitment: Weight beta.
        likelihood: Law of the data given the codes, as of `Autoencoder`; it must be one.
        scale: Standard deviation under `"gaussian"`; None learns it.

    Raises:
        ValueError: If a size is not positive, rows or columns cannot be halved so often, there are fewer than two
            codes, or the likelihood is unknown or none.
        TypeError: If an argument has the wrong type.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> model = models.VQVAE(shape=(8, 8), codes=16, code_size=4, channels=8)
        >>> numbers = model.encode(torch.zeros(5, 64))
        >>> numbers.shape, model.decode(numbers).shape
        (torch.Size([5, 16]), torch.Size([5, 64]))
    """

    surrogate_gradients = ("coder.up.", "codebook")

    def __init__(
        self,
        shape: Sequence[int],
        codes: int = 32,
        code_size: int = 8,
        channels: int = 32,
        halvings: int = 1,
        prior_hidden: int = 64,
        commitment: float = 0.25,
        likelihood: str = "bernoulli",
        scale: float | None = None,
    ) -> None:
        super().__init__()
        refuse_words(likelihood, "vector-quantised one")
        found = positive_sizes("shape", shape)
        if len(found) not in (2, 3):
            raise ValueError(f"shape must be (rows, columns) or (channels, rows, columns), got {found}.")
        maps, tall, wide = found if len(found) == 3 else (1, *found)
        self.image_shape = (maps, tall, wide)
        codes = positive_size("codes", codes)
        if codes < 2:
            raise ValueError(f"codes must be at least 2, got {codes}.")
        times = positive_size("halvings", halvings)
        self.observation = Observation(likelihood, scale)
        if not self.observation.normalised:
            raise ValueError(
                f"likelihood={likelihood!r} is no law of the data, so that a prior of the codes gives no log p(x). Use "
                "'continuous-bernoulli', or 'bernoulli' on bits."
            )
        self.commitment = number_from_zero("commitment", commitment)
        for name, value in (("channels", channels), ("code_size", code_size), ("prior_hidden", prior_hidden)):
            positive_size(name, value)
        if tall % 2**times or wide % 2**times:
            raise ValueError(
                f"shape: rows and columns must be multiples of {2**times}, as they are halved {times} times; got "
                f"{found}."
            )
        size = positive_size("code_size", code_size)
        self.coder = ConvolutionalCoder(self.image_shape, positive_size("channels", channels), times, size)
        self.codebook = nn.Parameter(torch.randn(codes, size) / size**0.5)
        self.started: Tensor
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))  # whether the codebook is of the data
        hidden = positive_size("prior_hidden", prior_hidden)
        self.prior = CategoricalNADE(math.prod(self.coder.grid), codes, hidden)

    @classmethod
    def example(cls) -> tuple["VQVAE", Tensor]:
        """A small instance with six bit vectors, to try things on."""
        model = cls(shape=(2, 4), codes=3, code_size=2, channels=4, prior_hidden=3)
        return model, torch.rand(6, 8).lt(0.4).float()

    @property
    def num_features(self) -> int:
        """Number of observed variables: channels x rows x columns."""
        return math.prod(self.image_shape)

    @property
    def num_codes(self) -> int:
        """Codes of a datum: places of the grid."""
        return self.prior.positions

    def prior_law(self) -> Autoregressive:
        """Law of the numbers of the codes, with events of shape (places,)."""
        return Autoregressive(self.prior, CodeOutput(len(self.codebook)))

    def prior_parameters(self) -> list[nn.Parameter]:
        """Parameters of the prior alone: what `training.fit_prior` trains."""
        return list(self.prior.parameters())

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of codes and data.

        Args:
            x: Data, shape (rows, features); None draws it.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        coder, observation = self.coder, self.observation
        with pyro.plate(self.plate, rows(x, num_rows)):
            codes = pyro.sample("codes", CodebookLaw(self.prior_law(), self.codebook))
            return pyro.sample("x", observation(coder.decode(codes)), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """The nearest codes of data of shape (rows, features), with the gradient of the encoder's vectors."""
        coder, codebook = self.coder, self.codebook
        with pyro.plate(self.plate, len(x)):
            vectors = coder.encode(x)
            chosen = codebook[nearest(vectors.detach(), codebook.detach())]
            drawn = (vectors.detach() - chosen).square() + self.commitment * (vectors - chosen.detach()).square()
            amount = drawn.sum((-2, -1))
            penalise("quantisation", amount - amount.detach())  # 0: the value stays the bound
            straight = chosen.detach() + (vectors - vectors.detach())  # the second term is exactly 0
            law = dist.Delta(straight.flatten(-2), amount.new_zeros(len(x)), event_dim=1)
            return pyro.sample("codes", law)

    def encode(self, x: Tensor) -> Tensor:
        """Numbers of the codes of every row: (rows, features) -> (rows, places), whole numbers from 0."""
        return nearest(self.coder.encode(x), self.codebook)

    def decode(self, numbers: Tensor) -> Tensor:
        """Mean of the data given numbers of codes: (rows, places) -> (rows, features)."""
        return self.observation.mean(self.coder.decode(self.codebook[numbers.long()].flatten(-2)))

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Start the output at the mean of each channel, and the codebook at vectors of the data far from each other.

        A codebook that was started before, and perhaps trained, stays.

        Raises:
            ValueError: If the data say that their images have another shape.
        """
        check_images(data, self.image_shape)
        mean = torch.as_tensor(data.mean).to(self.device).reshape(self.image_shape).mean((1, 2))
        self.observation.initialise(self.coder.output_bias, mean, data)
        if bool(self.started):
            return
        x = data.batch("train", torch.arange(min(data.num_train, _LOOKED_AT))).to(self.codebook)
        self.started.fill_(True)
        self.codebook.copy_(_apart(self.coder.encode(x).flatten(0, 1), len(self.codebook)))


def _apart(vectors: Tensor, count: int) -> Tensor:
    """So many of the vectors, each drawn with a probability that grows with its squared distance from those before.

    References:
        | k-means++: The Advantages of Careful Seeding (Arthur and Vassilvitskii, 2007)
    """
    chosen = vectors[torch.randint(len(vectors), (1,), device=vectors.device)]
    distance = (vectors - chosen).square().sum(-1)
    for _ in range(count - 1):
        index = torch.multinomial(distance + torch.finfo(distance.dtype).tiny, 1)
        chosen = torch.cat([chosen, vectors[index]])
        distance = torch.minimum(distance, (vectors - vectors[index]).square().sum(-1))
    return chosen
