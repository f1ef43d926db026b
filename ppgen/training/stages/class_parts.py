"""A classifier and outlier detector made of one density a class, by Bayes' rule."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ppgen.checks.arguments import as_numbers
from ppgen.datasets.paired import UNLABELLED
from ppgen.seeds import derive
from ppgen.training.run import Run
from ppgen.training.stages.class_evidence import ClassEvidence, TypicalEvidence

OUTLIER_SCORES = ("ratio", "typicality")
OutlierScore = Literal["ratio", "typicality"]


class ClassParts:
    r"""One density a class: p(y | x) by Bayes' rule, and which rows are from none of them.

    .. math:: p(y \mid x) = \frac{\pi_y \, p(x \mid y)}{\sum_c \pi_c \, p(x \mid c)}

    Made by `training.fit_classes`. Keywords of the methods are arguments of `evaluation.log_likelihood`, and go before
    those that the classifier was made with.

    References:
        | Likelihood Ratios for Out-of-Distribution Detection (Ren et al., 2019), https://arxiv.org/abs/1906.02845
        | Do Deep Generative Models Know What They Don't Know? (Nalisnick et al., 2019),
          https://arxiv.org/abs/1810.09136
        | Density of States Estimation for Out-of-Distribution Detection (Morningstar et al., 2021),
          https://arxiv.org/abs/2006.09273

    Args:
        runs: Of each part, in the order of the classes.
        classes: Labels, one for each part.
        log_prior: log pi of each class: (classes,).
        background: Run of the density that outliers are measured by; None without.
        held: Rows that typical values of log p(x) are known from, and their labels.
        options: Arguments of `evaluation.log_likelihood`.
        data_means: Mean of the training rows of each class, from which log Z of undirected parts is annealed.

    Attributes:
        runs: Of each part.
        classes: Label of each part: (classes,), int64.
        log_prior: log pi of each class: (classes,).
        background: Run of the background model, or None.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        classes: Tensor,
        log_prior: Tensor,
        background: Run | None,
        held: Tensor,
        options: Mapping[str, Any],
        data_means: Sequence[Tensor],
    ) -> None:
        self.runs, self.classes, self.log_prior = tuple(runs), classes, log_prior.double()
        self.background, self.options = background, dict(options)
        self._held, self._data_means = held, tuple(data_means)
        self._log_partitions: dict[int, Any] = {}
        self._typical: TypicalEvidence | None = None
        self._thresholds: dict[str, Tensor] = {}

    @property
    def parts(self) -> tuple[Any, ...]:
        """The trained pair of each class."""
        return tuple(run.pair for run in self.runs)

    def evidence(self, x: Any, **options: Any) -> ClassEvidence:
        """log p(x | y) of every class with its error, and what follows by Bayes' rule.

        Args:
            x: Data, (rows, features).
            **options: Arguments of `evaluation.log_likelihood`.
        """
        found = [self._log_likelihood(place, x, options) for place in range(len(self.runs))]
        values, errors, common = zip(*found, strict=True)
        return ClassEvidence(torch.stack(values, -1), torch.stack(errors, -1), torch.stack(common), self.log_prior)

    def probabilities(self, x: Any, **options: Any) -> Tensor:
        """p(y | x): (rows, features) -> (rows, classes)."""
        return self.evidence(x, **options).log_posterior.exp()

    def predict(self, x: Any, *, reject: float = 0.0, outliers: OutlierScore = "ratio", **options: Any) -> Tensor:
        """The most probable label: (rows, features) -> (rows,), and -1 for rows that are rejected.

        Args:
            x: Data, (rows, features).
            reject: Share of the validation rows (of the training rows, if there are none) that would be rejected: rows
                are, whose outlier score is higher than that of all others of those.
            outliers: Score of outliers.
            **options: Arguments of `evaluation.log_likelihood`.

        Raises:
            ValueError: If the share does not lie in [0, 1).
        """
        if isinstance(reject, bool) or not isinstance(reject, (int, float)) or not 0 <= reject < 1:
            raise ValueError(f"reject must be a share of rows, at least 0 and below 1, got {reject!r}.")
        evidence = self.evidence(x, **options)
        labels = self.classes[evidence.log_posterior.argmax(-1)]
        if not reject:
            return labels
        _check_score(outliers)
        if outliers not in self._thresholds:
            self._thresholds[outliers] = self.outlier_score(self._held[1::2], outliers)
        limit = self._thresholds[outliers].quantile(1 - reject)
        return labels.masked_fill(self._outlying(evidence, x, outliers, options) > limit, UNLABELLED)

    def score(self, x: Any, labels: Any, **options: Any) -> float:
        """Accuracy: fraction of rows whose label is the most probable one, among those that have a label.

        Args:
            x: Data, (rows, features).
            labels: Class of each row, (rows,), or -1 where it has none.
            **options: Arguments of `evaluation.log_likelihood`.

        Raises:
            ValueError: If there is not one label for each row, or no row has any.
        """
        given, known = self._labelled(x, labels)
        predicted = self.predict(torch.as_tensor(x)[known.to(torch.as_tensor(x).device)], **options)
        return float((predicted == given[known]).double().mean())

    def log_score(self, x: Any, labels: Any, **options: Any) -> Any:
        """Mean log p(y | x) of the labels, in nats: an `evaluation.Estimate` with the errors of the parts.

        Args:
            x: Data, (rows, features).
            labels: Class of each row, (rows,), or -1 where it has none.
            **options: Arguments of `evaluation.log_likelihood`.

        Raises:
            ValueError: If there is not one label for each row, no row has any, or there is no part for one.
        """
        import ppgen  # by name, as evaluation stands above training

        given, known = self._labelled(x, labels)
        if strange := sorted(set(given[known].tolist()) - set(self.classes.tolist())):
            raise ValueError(f"labels hold {strange[0]}, of which there is no part: {self.classes.tolist()}.")
        evidence = self.evidence(torch.as_tensor(x)[known.to(torch.as_tensor(x).device)], **options)
        place = torch.searchsorted(self.classes, given[known])
        value, se = evidence.of(place)
        each = evidence.log_posterior[torch.arange(len(place)), place]
        return ppgen.evaluation.Estimate(
            value,
            se,
            "estimate" if bool(evidence.se.any() | evidence.common_se.any()) else "exact",
            f"Bayes' rule with {len(self.runs)} parts",
            num_data=len(place),
            data_se=float(each.std() / len(place) ** 0.5) if len(place) > 1 else None,
            per_datum={"log_likelihood": each.numpy()},
        )

    def outlier_score(self, x: Any, method: OutlierScore = "ratio", **options: Any) -> Tensor:
        r"""How little a row looks like any class: (rows,), the higher the less.

        .. math:: \mathrm{ratio} = \log p_0(x) - \log p(x), \qquad
                  \mathrm{typicality} = (t(x) - m_{\hat y})^\top C_{\hat y}^{-1} (t(x) - m_{\hat y})
                  + \log |C_{\hat y}|

        p_0 is the background model and :math:`\hat y` the most probable class. t are log p_0(x) and, of each class,
        log p(x | c) / log p_0(x) (their difference where densities may be above 1; log p(x | c) alone without a
        background); m and C are mean and covariance of t over rows of that class that were held out. So it looks at
        both sides. log p(x) alone is no such score, since what is easy is probable. Under densities of digits an
        image without ink is more probable than nearly all digits, and so is a digit of half the size.

        Args:
            x: Data, (rows, features).
            method: The `"ratio"` to the background model, or `"typicality"`, which needs some hundred held-out rows of
                each class, as it is a distance in as many numbers as there are classes.
            **options: Arguments of `evaluation.log_likelihood`.

        Raises:
            ValueError: If the method is unknown, or the ratio is asked for and there is no background model.
        """
        _check_score(method)
        return self._outlying(self.evidence(x, **options), x, method, options)

    def _outlying(self, evidence: ClassEvidence, x: Any, method: str, options: Mapping[str, Any]) -> Tensor:
        if method == "ratio":
            if self.background is None:
                raise ValueError(
                    'The "ratio" needs a background model: fit_classes(..., background=True); or use "typicality".'
                )
            return self._log_likelihood(len(self.runs), x, options)[0] - evidence.log_marginal
        if self._typical is None:
            held = self._held[::2]  # the others tell what share of rows is rejected
            self._typical = TypicalEvidence(self.evidence(held), self._of_background(held, {}))
        return self._typical.distance(evidence, self._of_background(x, options))

    def _of_background(self, x: Any, options: Mapping[str, Any]) -> Tensor | None:
        return None if self.background is None else self._log_likelihood(len(self.runs), x, options)[0]

    def _log_likelihood(self, place: int, x: Any, options: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x) under a part, its standard error in each row, and that of its log Z; the last is the background."""
        import ppgen

        run: Any = self.background if place == len(self.runs) else self.runs[place]
        own = {"seed": derive(0, "class", place) % 2**31, **self.options, **options}
        if run.inference.negative_phase is not None and "log_partition" not in own:
            own["log_partition"] = self._log_partition(place, run)
        found = ppgen.evaluation.log_likelihood(run.pair, x, **own)
        of_rows = found.per_datum or {}
        value = torch.as_tensor(of_rows["log_likelihood"], dtype=torch.float64)
        errors = of_rows.get("se")
        se = torch.zeros_like(value) if errors is None else torch.as_tensor(errors, dtype=torch.float64)
        se = se.nan_to_num(nan=1.0)  # where few draws cannot tell: a nat, which is the most that others may have
        common = torch.tensor(float(found.log_partition_se or 0.0), dtype=torch.float64)
        return value, se, common

    def _log_partition(self, place: int, run: Run) -> Any:
        """log Z of a part, found once: enumerated, or by annealing from the mean of its rows."""
        import ppgen

        if place not in self._log_partitions:
            seed = derive(0, "log Z", place) % 2**31
            try:
                found = ppgen.evaluation.log_partition(run.pair, method="exact")
            except ValueError:  # too many states
                mean = self._data_means[place] if place < len(self._data_means) else None
                found = ppgen.evaluation.log_partition(run.pair, method="ais", data_mean=mean, seed=seed)
            self._log_partitions[place] = found
        return self._log_partitions[place]

    def _labelled(self, x: Any, labels: Any) -> tuple[Tensor, Tensor]:
        given = as_numbers("labels", labels).cpu()
        if given.is_floating_point() or given.dtype == torch.bool or given.shape != (len(x),):
            raise ValueError(
                f"labels must be one whole number for each of the {len(x)} rows, got {given.dtype}, "
                f"shape {tuple(given.shape)}."
            )
        known = given != UNLABELLED
        if not known.any():
            raise ValueError(f"labels must tell the class of some row, got none but {UNLABELLED}: a row without one.")
        return given.long(), known

    def __repr__(self) -> str:
        beside = "" if self.background is None else " and a background model"
        return f"ClassParts({type(self.runs[0].pair).__name__} for each of {self.classes.tolist()}{beside})"


def _check_score(method: Any) -> None:
    if method not in OUTLIER_SCORES:
        raise ValueError(f"method must be one of {', '.join(map(repr, OUTLIER_SCORES))}, got {method!r}.")
