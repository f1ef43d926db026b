"""Sparse coding: data as sums of few atoms of a dictionary."""

import math
import warnings
from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal, get_args

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.closed_form import Draw
from ppgen.distributions import LinearNormal
from ppgen.models.parts.arguments import number_from_zero, positive_size
from ppgen.models.parts.programs import rows
from ppgen.models.sparse_coding import dictionary as dictionaries
from ppgen.nn import Lasso, NormalCodes
from ppgen.nn.normal_codes import expected_magnitude
from ppgen.pair import GenerativeModel

GuideLaw = Literal["point", "normal"]
CANDIDATES = 16  # rows of a batch that may stand in for dead atoms
LOOKED_AT = 10_000  # training rows at which the penalty is tried


class SparseCoding(GenerativeModel):
    r"""Sparse coding: each datum is a sum of few atoms of a dictionary, and noise.

    .. math:: a_k \sim \mathrm{Laplace}(0, b), \quad x \sim N(D a, s^2 I), \qquad
              -2 s^2 \log p(x, a) = \|x - D a\|^2 + \lambda \|a\|_1 + \mathrm{const}, \quad \lambda = 2 s^2 / b

    The penalty lambda is that of the sum of squares, not of its mean: scikit-learn's `sparse_encode` and
    `DictionaryLearning` have `alpha = penalty / 2`, its `Lasso` has `alpha = penalty / (2 * features)`. The noise s
    says how certain codes are and moves neither them nor the dictionary; b follows from both. Atoms have norm 1,
    `D = V / |V|`, without which large atoms and small codes would cheat the penalty.

    By default the guide is a point: the codes of the Lasso under the present dictionary, by FISTA, without a gradient
    (by the envelope theorem that of the dictionary is right). Log-weights are log p(x, a) at that point, and no bound
    on log p(x). Training alternates between codes and dictionary, atom by atom in closed form, over batches or all
    data, and puts badly reconstructed data in the place of atoms that nothing uses; `ppgen.fit(model, data, "elbo")`
    follows the gradient instead. At the first `fit` the atoms start at training rows. Sites: `codes`, shape (atoms,),
    and `x`, shape (features,), in the plate `data`.

    With `guide="normal"` it is the independent Normal law of each datum's codes that has the highest ELBO, found by a
    solver too, so that there is a bound on log p(x), in closed form and without noise, and intervals of codes. Then
    noise and scale can be learned, which under a point guide would send the density to infinity. By gradient:
    `ppgen.fit(model, data, inference.AnalyticELBO())`.

    References:
        | Emergence of Simple-Cell Receptive Field Properties by Learning a Sparse Code for Natural Images (Olshausen
          and Field, 1996)
        | Online Learning for Matrix Factorization and Sparse Coding (Mairal, Bach, Ponce and Sapiro, 2010)
        | https://arxiv.org/abs/0908.0050
        | Learning Sparse Codes with Entropy-Based ELBOs (Velychko, Damm, Fischer and Luecke, 2023)
        | https://arxiv.org/abs/2311.01888

    Args:
        features: Observed variables.
        atoms: Atoms of the dictionary.
        penalty: lambda; larger ones leave fewer codes that are not zero.
        positive: Whether codes are positive, with an Exponential prior of the same scale b.
        noise: Standard deviation s of the data around D a.
        sweeps: Steps of FISTA in the guide. They suffice where atoms are not much alike; `encode` goes on until the
            duality gap is small.
        guide: `"point"`, the Lasso's codes; or `"normal"`, the best Normal law, of which `encode` gives the means, none
            of them zero.
        learn_scales: Whether noise s and scale b are learned too, from where `noise` and `penalty` put them; with
            `guide="normal"`.

    Raises:
        ValueError: If a number is not positive; if codes are positive under a Normal guide, which is none of theirs; if
            scales are to be learned under a point guide. At the first fit, if there are more atoms than different
            training rows.
        TypeError: If an argument is of another type.

    Warns:
        UserWarning: By `fit`, if the penalty is so large that all codes are zero.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> coder = models.SparseCoding(features=6, atoms=8, penalty=0.2)
        >>> codes = coder.encode(torch.randn(5, 6))
        >>> codes.shape, coder.decode(codes).shape, coder.dictionary.norm(dim=0).allclose(torch.ones(8))
        (torch.Size([5, 8]), torch.Size([5, 6]), True)
    """

    default_inference = "alternating"

    def __init__(
        self,
        features: int,
        atoms: int,
        penalty: float = 2.0,
        positive: bool = False,
        noise: float = 0.5,
        sweeps: int = 20,
        guide: GuideLaw = "point",
        learn_scales: bool = False,
    ) -> None:
        super().__init__()
        self.features, self.atoms = positive_size("features", features), positive_size("atoms", atoms)
        self._penalty, self._noise = _positive("penalty", penalty), _positive("noise", noise)
        self.sweeps = positive_size("sweeps", sweeps)
        if not isinstance(positive, bool):
            raise TypeError(f"positive must be True or False, got {positive!r}.")
        self.positive = positive
        self.guide_law, self.learn_scales = _checked(guide, learn_scales, positive), learn_scales
        if learn_scales:
            start = self._noise, 2 * self._noise**2 / self._penalty
            self.log_noise, self.log_scale = (nn.Parameter(torch.tensor(value).log()) for value in start)
        self.weight = nn.Parameter(dictionaries.with_unit_norm(torch.randn(self.features, self.atoms)))

    @property
    def num_features(self) -> int:
        """Number of observed variables: the features of a datum."""
        return self.features

    @property
    def dictionary(self) -> Tensor:
        """D, (features, atoms): the weights divided by the norms of their columns."""
        return dictionaries.with_unit_norm(self.weight)

    @property
    def noise(self) -> float | Tensor:
        """s, the standard deviation of the data around D a: a number, or a tensor where it is learned."""
        return self.log_noise.exp() if self.learn_scales else self._noise

    @property
    def scale(self) -> float | Tensor:
        """b, the scale of the prior of the codes: a number, or a tensor where it is learned."""
        return self.log_scale.exp() if self.learn_scales else 2 * self._noise**2 / self._penalty

    @property
    def penalty(self) -> float:
        """lambda, how much the magnitudes of codes cost: 2 noise^2 / scale."""
        if not self.learn_scales:
            return self._penalty
        return 2 * float((2 * self.log_noise - self.log_scale).detach().exp())

    @penalty.setter
    def penalty(self, value: float) -> None:
        if self.learn_scales:
            raise AttributeError("penalty follows from log_noise and log_scale where they are learned.")
        self._penalty = _positive("penalty", value)
        if "penalty" in self._config:  # with which a saved model is made again
            self._config["penalty"] = self._penalty

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of codes and data.

        Args:
            x: Data, shape (rows, features); None draws it.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        dictionary = self.dictionary
        scale = self._filled(self.atoms, self.scale)
        prior = dist.Exponential(1 / scale) if self.positive else dist.Laplace(torch.zeros_like(scale), scale)
        with pyro.plate(self.plate, rows(x, num_rows)):
            codes = pyro.sample("codes", prior.to_event(1))
            law = LinearNormal(codes, dictionary, self._filled(self.features, self.noise))
            return pyro.sample("x", law.to_event(1), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Codes of data of shape (rows, features): those of the Lasso, a point, or the best Normal law."""
        law: Any
        if self.guide_law == "normal":
            law = dist.Normal(*self.normal_codes(x).solve(self.sweeps)).to_event(1)
        else:
            law = dist.Delta(self.lasso(x).fista(self.sweeps), event_dim=1)
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("codes", law)

    def normal_codes(self, x: Tensor) -> NormalCodes:
        """The problem of which the best Normal law of the codes of data (rows, features) is the solution."""
        scale, noise = (each.detach() if isinstance(each, Tensor) else each for each in (self.scale, self.noise))
        return NormalCodes(x, self.dictionary.detach(), scale, noise)

    def _filled(self, size: int, value: float | Tensor) -> Tensor:
        return value.expand(size) if isinstance(value, Tensor) else self.weight.new_full((size,), value)

    def lasso(self, x: Tensor) -> Lasso:
        """The problem of which the codes of data (rows, features) are the solution."""
        return Lasso(x, self.dictionary.detach(), self.penalty, self.positive)

    @property
    def num_codes(self) -> int:
        """Numbers of a code: the atoms."""
        return self.atoms

    def encode(self, x: Tensor) -> Tensor:
        """Codes of data: (rows, features) -> (rows, atoms).

        Those of the Lasso to a duality gap of 1e-5 of its squares; under a Normal guide the means of its law.
        """
        return self.lasso(x).solve() if self.guide_law == "point" else self.normal_codes(x).solve()[0]

    def decode(self, codes: Tensor) -> Tensor:
        """D a: (rows, atoms) -> (rows, features)."""
        return codes @ self.dictionary.mT

    def initialise(self, data: Any) -> None:
        """Start the atoms at training rows, chosen at random."""
        with torch.no_grad():
            self.weight.copy_(dictionaries.starting_atoms(data, self.atoms))
        self._check_penalty(data)

    def inspect_data(self, data: Any) -> None:
        """Warn where the penalty leaves no code."""
        if self.initialised:
            self._check_penalty(data)

    def sufficient_statistics(self, guide: Mapping[str, Draw], x: Tensor) -> dict[str, Tensor]:
        """Sums over rows of the products of codes, of data and codes, and of how often each atom is used.

        Of codes with a law it is their means that count: atoms of norm 1 have no part in what their variances cost. An
        atom is used where its code is not zero, or further from it than its standard deviation. Where scales are
        learned, also the expected squares of data and codes and the magnitudes of codes.
        """
        codes = self._codes(guide)
        found = {"products": codes.mT @ codes, "images": x.mT @ codes, "rows": codes.new_full((), len(codes))}
        if self.guide_law == "point":
            return found | {"use": (codes != 0).to(codes.dtype).sum(0)}
        deviation = guide["codes"].law.stddev
        found["use"] = (codes.abs() > deviation).to(codes.dtype).sum(0)
        if self.learn_scales:
            found["squares"] = x.square().sum() + deviation.square().sum()
            found["magnitudes"] = expected_magnitude(codes, deviation).sum()
        return found

    def maximise(self, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The dictionary after one sweep over its atoms, each the best of unit norm given the others, then the scales.

        The best noise given the dictionary is `s^2 = E||x - D a||^2 / features`, and the best scale `b = E|a|`.
        """
        dictionary = dictionaries.best_atoms(self.dictionary, statistics["products"], statistics["images"])
        if not self.learn_scales:
            return {"weight": dictionary}
        products, images = statistics["products"], statistics["images"]
        along = (dictionary * images).sum()
        squares = statistics["squares"] - 2 * along + ((dictionary.mT @ dictionary) * products).sum()
        variance = (squares / (statistics["rows"] * self.features)).clamp(min=torch.finfo(along.dtype).tiny)
        magnitude = statistics["magnitudes"] / (statistics["rows"] * self.atoms)
        return {"weight": dictionary, "log_noise": variance.log() / 2, "log_scale": magnitude.log()}

    def candidates(self, guide: Mapping[str, Draw], x: Tensor) -> dict[str, Tensor]:
        """The rows that are reconstructed worst, (rows, features), which take the place of atoms that nothing uses."""
        return {"worst": dictionaries.worst_rows(x, x - self.decode(self._codes(guide)), CANDIDATES)}

    def reseed(
        self, statistics: Mapping[str, Tensor], candidates: Mapping[str, Tensor], rows: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Put badly reconstructed data in the place of atoms that nothing uses, and clear the statistics of these."""
        count = statistics["rows"]
        dead = dictionaries.unused(statistics["use"] / count, rows, count)
        weight, new = dictionaries.revived(self.dictionary, dead, candidates["worst"])
        return {"weight": weight}, {
            "products": statistics["products"].masked_fill(new | new.unsqueeze(-1), 0.0),
            "images": statistics["images"].masked_fill(new, 0.0),
            "use": torch.where(new, count, statistics["use"]),
        }

    def _codes(self, guide: Mapping[str, Draw]) -> Tensor:
        """The codes of a point guide, or the means of a law."""
        law, value = guide["codes"]
        return value if self.guide_law == "point" else law.mean

    def _check_penalty(self, data: Any) -> None:
        x = data.batch("train", torch.arange(min(data.num_train, LOOKED_AT)))
        largest = float(self.lasso(x.to(self.weight)).largest_penalty().max())
        if self.penalty >= largest:
            warnings.warn(
                f"penalty={self.penalty:g} makes all codes of the training data zero, so that nothing is learned: with "
                f"the present dictionary it must be below {largest:.3g}, the largest 2 |D_k'x| of the data.",
                stacklevel=2,
            )


def _checked(guide: Any, learn_scales: Any, positive: bool) -> str:
    if guide not in get_args(GuideLaw):
        raise ValueError(f"guide must be one of {', '.join(map(repr, get_args(GuideLaw)))}, got {guide!r}.")
    if not isinstance(learn_scales, bool):
        raise TypeError(f"learn_scales must be True or False, got {learn_scales!r}.")
    if guide == "normal" and positive:
        raise ValueError(
            'guide="normal" is a law of codes of both signs, and positive=True leaves one. Use guide="point", and '
            "inference.sample_posterior(..., kernel=inference.SparseGibbs()) for how certain positive codes are."
        )
    if learn_scales and guide == "point":
        raise ValueError(
            'learn_scales=True needs guide="normal": with a point for codes the density grows without end as the scale '
            "goes to zero."
        )
    return str(guide)


def _positive(name: str, value: Any) -> float:
    if isinstance(value, Real) and not 0 < float(value) < math.inf:  # True is refused below
        raise ValueError(f"{name} must be positive and finite, got {value!r}.")
    return number_from_zero(name, value)
