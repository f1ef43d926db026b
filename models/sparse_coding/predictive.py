"""Predictive sparse decomposition: sparse coding with a network that learns to predict the codes."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.models.parts.arguments import number_from_zero, positive_size
from ppgen.models.parts.penalty import penalise
from ppgen.models.sparse_coding.sparse_coding import SparseCoding
from ppgen.nn import Lasso, LearnedISTA, SaturatingEncoder

ENCODERS = ("tanh", "sigmoid", "soft threshold", "lista")
MATCHED = ("codes", "objective")


class PredictiveSparseDecomposition(SparseCoding):
    r"""Sparse coding with an encoder that predicts the codes in one pass.

    .. math:: \min_{D, F, z} \; \|x - D z\|^2 + \lambda \|z\|_1 + w \|F(x) - z\|^2, \qquad \|D_k\| = 1

    The model is that of `SparseCoding`. The guide is a point, the codes z that minimise the sum, drawn to the
    prediction and found by FISTA from there, without a gradient; the last term is the factor `prediction` of the guide.
    Dictionary and encoder follow the gradient of the sum over 2 noise^2, which by the envelope theorem is that at codes
    held fixed. The encoder is one of

    .. math:: g \odot \tanh(W^T x + b), \quad \sigma(W^T x), \quad h_\theta(W^T x)

    with the soft threshold h, or several layers of learned shrinkage (`nn.LearnedISTA`). It starts at the atoms, which
    start at training rows. `encode` is the prediction, `infer_codes` the exact codes of the Lasso, and
    `features.encoder_gap` how far the first lie above the second.

    With `match="objective"` the last term is w times the objective at the prediction,
    `||x - D F(x)||^2 + lambda |F(x)|_1` with D held fixed, and z is the exact code: what the gap measures is what the
    encoder is trained on. `use_dictionary` gives atoms to start from; with `learn_dictionary=False` they stay, and the
    encoder alone is trained.

    References:
        | Fast Inference in Sparse Coding Algorithms with Applications to Object Recognition (Kavukcuoglu, Ranzato and
          LeCun, 2010)
        | https://arxiv.org/abs/1010.3467
        | Learning Fast Approximations of Sparse Coding (Gregor and LeCun, 2010)
        | https://icml.cc/Conferences/2010/papers/449.pdf

    Args:
        features: Observed variables.
        atoms: Atoms of the dictionary.
        penalty: lambda; larger ones leave fewer codes that are not zero.
        encoder: `"tanh"`, `"sigmoid"`, `"soft threshold"` or `"lista"`.
        layers: Layers of `"lista"`.
        weight: w, how much the prediction counts.
        match: What the prediction is trained to match: the `"codes"`, or the least `"objective"`.
        learn_dictionary: Whether the atoms are trained, or stay where they start.
        positive: Whether codes are positive, with an Exponential prior; not with `"tanh"`.
        noise: Standard deviation s of the data around D z.
        sweeps: Steps of FISTA in the guide.

    Raises:
        ValueError: If a number is not positive, a name is unknown, or tanh is to give positive codes. At the first fit,
            if there are more atoms than different training rows.
        TypeError: If an argument is of another type.

    Warns:
        UserWarning: By `fit`, if the penalty is so large that all codes are zero.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> coder = models.PredictiveSparseDecomposition(features=6, atoms=8, penalty=0.2, encoder="soft threshold")
        >>> x = torch.randn(5, 6)
        >>> coder.encode(x).shape, coder.infer_codes(x).shape, coder.decode(coder.encode(x)).shape
        (torch.Size([5, 8]), torch.Size([5, 8]), torch.Size([5, 6]))
    """

    encoder: Any
    default_inference = "elbo"
    # A closed form would move the dictionary and leave the encoder as it is.
    sufficient_statistics = maximise = candidates = reseed = None  # type: ignore[assignment]

    def __init__(
        self,
        features: int,
        atoms: int,
        penalty: float = 2.0,
        encoder: str = "lista",
        layers: int = 3,
        weight: float = 1.0,
        match: str = "codes",
        learn_dictionary: bool = True,
        positive: bool = False,
        noise: float = 0.5,
        sweeps: int = 20,
    ) -> None:
        super().__init__(features, atoms, penalty, positive, noise, sweeps)
        if encoder not in ENCODERS:
            raise ValueError(f"encoder must be one of {', '.join(map(repr, ENCODERS))}, got {encoder!r}.")
        if match not in MATCHED:
            raise ValueError(f"match must be 'codes' or 'objective', got {match!r}.")
        if not isinstance(learn_dictionary, bool):
            raise TypeError(f"learn_dictionary must be True or False, got {learn_dictionary!r}.")
        if positive and encoder == "tanh":
            raise ValueError("encoder='tanh' gives negative codes: with positive=True take 'sigmoid' or 'lista'.")
        self.prediction_weight, self.match = number_from_zero("weight", weight), match
        if self.prediction_weight == 0:
            raise ValueError(f"weight must be positive, got {weight!r}; without a prediction use models.SparseCoding.")
        layers = positive_size("layers", layers)
        self.weight.requires_grad_(learn_dictionary)
        self.encoder = _encoder(encoder, self.features, self.atoms, layers, positive)
        self.encoder.start_from(self.dictionary.detach(), self.penalty)

    @property
    def told_of_values(self) -> str:
        """What the values that training reports are, in words: no bound of log p(x)."""
        term = "squared error of the predicted codes" if self.match == "codes" else "objective at the predicted codes"
        return (
            "values are log p(x, z) at the codes, no bound of log p(x); less "
            f"{self.prediction_weight / (2 * self.noise**2):g} times the {term}"
        )

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """The codes of data of shape (rows, features), a point, and the cost of their prediction."""
        predicted = self.encoder(x)
        codes = self._free_codes(x, predicted.detach())
        if self.match == "codes":
            cost = (predicted - codes).square().sum(-1)
        else:
            cost = self.lasso(x).objective(predicted)
        with pyro.plate(self.plate, len(x)):
            penalise("prediction", self.prediction_weight / (2 * self.noise**2) * cost)
            return pyro.sample("codes", dist.Delta(codes, codes.new_zeros(len(x)), event_dim=1))

    def encode(self, x: Tensor) -> Tensor:
        """The predicted codes, F(x): (rows, features) -> (rows, atoms)."""
        codes: Tensor = self.encoder(x)
        return codes

    @torch.no_grad()
    def infer_codes(self, x: Tensor) -> Tensor:
        """Codes of the Lasso to a duality gap of 1e-5 of its squares, from the predicted ones: (rows, atoms)."""
        return self.lasso(x).solve(start=self.encode(x))

    def initialise(self, data: Any) -> None:
        """Start the atoms at training rows, and the encoder at the atoms."""
        super().initialise(data)
        self.encoder.start_from(self.dictionary.detach(), self.penalty)

    @torch.no_grad()
    def use_dictionary(self, dictionary: Tensor) -> None:
        """Start from a dictionary, such as that of a trained `SparseCoding`, and the encoder from its atoms.

        Args:
            dictionary: (features, atoms); columns are divided by their norms.

        Raises:
            ValueError: If the shape is another, or there is an atom without a norm.
            TypeError: If it is no tensor.
        """
        if not isinstance(dictionary, Tensor):
            raise TypeError(f"dictionary must be a tensor (features, atoms), got {type(dictionary).__name__}.")
        if dictionary.shape != self.weight.shape or not bool((torch.linalg.vector_norm(dictionary, dim=0) > 0).all()):
            raise ValueError(
                f"dictionary must have shape {tuple(self.weight.shape)} and no column of zeros, got shape "
                f"{tuple(dictionary.shape)}."
            )
        self.weight.copy_(dictionary)
        self.encoder.start_from(self.dictionary, self.penalty)
        self.initialised = True

    def _free_codes(self, x: Tensor, predicted: Tensor) -> Tensor:
        """What minimises the sum over z."""
        if self.match == "objective":
            return self.lasso(x).fista(self.sweeps, start=predicted)
        root = self.prediction_weight**0.5  # codes times root, so that the last term has weight 1
        dictionary = self.dictionary.detach() / root
        problem = Lasso(x, dictionary, self.penalty / root, self.positive, target=root * predicted)
        return problem.fista(self.sweeps, start=root * predicted) / root


def _encoder(name: str, features: int, atoms: int, layers: int, positive: bool) -> Any:
    if name in ("tanh", "sigmoid"):
        return SaturatingEncoder(features, atoms, name, free=name == "tanh")
    return LearnedISTA(features, atoms, layers if name == "lista" else 1, positive)
