"""Parameters in closed form: EM and online EM as written by hand, what is refused, and what is recorded."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from closed_form_pairs import Dictionary, FactorAnalysis
from torch import Tensor

import ppgen
from ppgen import inference, models
from ppgen.testing.mixtures import mixture_pair, two_clusters

X = two_clusters()
FIT: dict[str, Any] = {"epochs": 5, "progress": False, "compile": False}


def by_hand(steps: int, rows: list[Tensor], rate: float) -> tuple[list[float], dict[str, Tensor]]:
    """Online EM of the mixture on batches in turn, in loops: mean log p(x) before each step, and the parameters."""
    start = mixture_pair()
    logits, means, variances = start.logits.detach(), start.means.detach(), start.log_variances.detach().exp()
    values: list[float] = []
    average: list[Tensor] = []
    for step in range(steps):
        x = rows[step % len(rows)]
        joint = torch.stack(
            [
                logits.log_softmax(0)[k]
                - 0.5 * ((x - means[k]) ** 2).sum(1) / variances[k]
                - math.log(2 * math.pi)
                - variances[k].log()
                for k in (0, 1)
            ],
            1,
        )
        values.append(float(joint.logsumexp(1).mean()))
        weights = joint.softmax(1)
        now = [
            torch.stack([weights[:, k].mean() for k in (0, 1)]),
            torch.stack([(weights[:, k : k + 1] * x).mean(0) for k in (0, 1)]),
            torch.stack([(weights[:, k] * (x**2).sum(1)).mean() for k in (0, 1)]),
        ]
        size = 1.0 if len(rows) == 1 else (step + 1) ** -rate
        average = now if not average else [(1 - size) * old + size * new for old, new in zip(average, now, strict=True)]
        count, total, square = average
        logits, means = count.log(), total / count[:, None]
        variances = (square / count - (means**2).sum(1)) / 2
    return values, {"logits": logits.log_softmax(0), "means": means, "log_variances": variances.log()}


def test_all_rows_in_a_batch_are_em() -> None:
    """Catches statistics that are averaged over steps though they are all there, and a value that is not log p(x)."""
    pair = mixture_pair()
    run = ppgen.fit(pair, X, "alternating", batch_size=60, **FIT)
    values, expected = by_hand(5, [X], 0.6)
    assert run.curve("train_value") == pytest.approx(values, abs=1e-12)
    assert sorted(values) == values and values[-1] > values[0] + 0.3
    for name, value in expected.items():
        found = dict(pair.named_parameters())[name].detach()
        torch.testing.assert_close(found, value, rtol=1e-12, atol=1e-12, msg=name)


@pytest.mark.parametrize("rate", [0.5, 0.6, 1.0])
def test_batches_in_turn_are_online_em(rate: float) -> None:
    """Catches another step size than t^-kappa, a first batch not taken whole, and sums that are not per datum."""
    pair, batches = mixture_pair(), [X[:20], X[20:]]
    bound = inference.Alternating(rate).bind(pair, X[:20], 60)
    values = []
    for step in range(6):
        values.append(float(bound.step(batches[step % 2]).value))
        bound.maximise()
    expected_values, expected = by_hand(6, batches, rate)
    assert values == pytest.approx(expected_values, abs=1e-12)
    for name, value in expected.items():
        torch.testing.assert_close(pair.get_parameter(name).detach(), value, rtol=1e-12, atol=1e-12, msg=name)


def test_parameters_are_held_while_statistics_are_gathered() -> None:
    """Catches a first batch of two rows that sets a variance to that between them, and a warm-up of all rows."""
    pair, start = mixture_pair(), mixture_pair()
    bound = inference.Alternating(1.0, warmup_steps=2).bind(pair, X[:20], 60)
    for step in range(3):
        bound.step(X[20 * step : 20 * step + 20])
        bound.maximise()
        same = [torch.equal(one, other) for one, other in zip(pair.parameters(), start.parameters(), strict=True)]
        assert all(same) if step < 2 else not any(same)
    _, expected = by_hand(1, [X], 1.0)  # of the same parameters, so that the three are all rows
    torch.testing.assert_close(pair.means.detach(), expected["means"], rtol=1e-12, atol=1e-12)
    at_once = inference.Alternating(warmup_steps=2).bind(start, X, 60)
    at_once.step(X)
    at_once.maximise()
    torch.testing.assert_close(start.means, pair.means, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="warmup_steps must be an integer of at least 0"):
        inference.Alternating(warmup_steps=-1)


def test_factor_analysis_finds_the_likelihood_of_the_sample_covariance() -> None:
    """Catches expectations taken at draws instead of the guide's law: then EM does not settle at the maximum."""
    x = two_clusters(200, 3)
    x = x - x.mean(0)
    pair = FactorAnalysis(3, 1)
    run = ppgen.fit(pair, x, "alternating", batch_size=200, epochs=400, progress=False, compile=False)
    covariance = x.T @ x / 200  # three variables and one factor: a perfect fit
    best = -0.5 * (covariance.logdet() + 3 * (1 + math.log(2 * math.pi)))
    assert run.curve("train_value")[-1] == pytest.approx(float(best), abs=1e-6)
    fitted = pair.loadings @ pair.loadings.T + torch.diag(pair.log_noise.exp())
    torch.testing.assert_close(fitted.detach(), covariance, atol=1e-3, rtol=0)


def test_what_an_update_leaves_is_trained_by_gradient_beside_it() -> None:
    """Catches an optimiser that moves what is set, and an encoder that nobody trains."""
    pair = FactorAnalysis(3, 1, encoder=True)
    before = {name: value.detach().clone() for name, value in pair.named_parameters()}
    x = two_clusters(60, 3)
    run = ppgen.fit(pair, x - x.mean(0), "alternating", batch_size=20, lr=0.05, **FIT | {"epochs": 30})
    for name, value in pair.named_parameters():
        assert not torch.equal(value, before[name]), name
    values = run.curve("train_value")
    assert values[-1] > values[0] + 0.3 and run.config["training"]["lr"] == 0.05
    again = ppgen.fit(FactorAnalysis(3, 1, encoder=True), x - x.mean(0), "elbo", batch_size=20, lr=0.05, **FIT)
    assert again.inference.update is None  # by gradient alone


def test_dead_parts_are_reseeded() -> None:
    """Catches a hook that is never called: an atom of zeros has no gradient, and no statistic that would move it."""
    pair = Dictionary(4, 4)
    assert not pair.dictionary[:, -1].any()
    ppgen.fit(pair, two_clusters(60, 4), "alternating", batch_size=20, **FIT)
    assert torch.isfinite(pair.dictionary).all()
    assert float(pair.dictionary[:, -1].norm().detach()) == pytest.approx(1.0)


@pytest.mark.parametrize(("size", "known"), [(20, [20.0, 20 * 2**0.5, 20 * 3**0.5]), (60, [60.0] * 3)])
def test_a_reseeding_is_told_of_how_many_rows_it_knows(size: int, known: list[float]) -> None:
    """Catches a count that grows with all that was ever seen, though averages forget, and one of a batch alone."""
    pair, x, told = Dictionary(4, 4), two_clusters(60, 4), []
    reseed = pair.reseed
    pair.reseed = lambda *given: told.append(float(given[-1])) or reseed(*given)  # type: ignore[method-assign,func-returns-value]
    bound = inference.Alternating().bind(pair, x[:size], 60)
    for _ in range(3):
        bound.step(x[:size])
        bound.maximise()
    assert told[1:] == pytest.approx(known)  # the first is the trial


@pytest.mark.parametrize("given", [{"lr": 0.1}, {"optimizer": "sgd"}, {"lr_schedule": "linear"}, {"clip_norm": 1.0}])
def test_an_optimiser_that_has_nothing_to_move_is_refused(given: dict[str, Any]) -> None:
    """Catches a step size that is taken and means nothing."""
    with pytest.raises(ValueError, match=rf"{next(iter(given))}=.* is of an optimiser.*Leave it out"):
        ppgen.fit(mixture_pair(), X, "alternating", **FIT, **given)


class Unlike(FactorAnalysis):
    """What a pair may get wrong, one at a time."""

    wrong = ""

    def sufficient_statistics(self, guide: Any, x: Tensor) -> dict[str, Tensor]:
        found = super().sufficient_statistics(guide, x)
        if self.wrong == "no statistics":
            return {}
        if self.wrong == "integers":
            return {"count": torch.tensor(3)}
        return {"z.z": found["zz"]} if self.wrong == "dots" else found

    def maximise(self, statistics: Any) -> dict[str, Tensor]:
        found = super().maximise(statistics)
        if self.wrong == "no parameters":
            return {}
        if self.wrong == "another name":
            return {"loading": found["loadings"]}
        return {"loadings": found["loadings"].T} if self.wrong == "another shape" else found


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        ("no statistics", TypeError, "Unlike.sufficient_statistics must return a mapping"),
        ("integers", TypeError, "'count' is torch.int64"),
        ("dots", ValueError, "names 'z.z'"),
        ("no parameters", ValueError, "Unlike.maximise must return the value of at least one parameter"),
        ("another name", ValueError, "returns 'loading', but the parameters are 'loadings', 'log_noise'"),
        ("another shape", ValueError, r"'loadings' in the shape \(3, 1\), got \(1, 3\)"),
        ("frozen", ValueError, r"Parameter 'log_noise' is frozen"),
    ],
)
def test_a_pair_that_is_wrong_is_told_before_training(wrong: str, error: Any, told: str) -> None:
    """Catches a fault of a pair that shows as a broadcast, a parameter that stays, or a message of torch."""
    pair = Unlike(3, 1)
    pair.wrong = wrong
    pair.log_noise.requires_grad_(wrong != "frozen")
    with pytest.raises(error, match=told):
        ppgen.fit(pair, two_clusters(12, 3), "alternating", **FIT)


class Global(FactorAnalysis):
    """With a latent for all rows together."""

    @pyro.nn.module.pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Any:
        pyro.sample("all", dist.Normal(self.loadings.new_zeros(()), 1.0))
        return super().model(x, num_rows)

    @pyro.nn.module.pyro_method
    def guide(self, x: Tensor, num_rows: int | None = None) -> Any:
        pyro.sample("all", dist.Normal(self.loadings.new_zeros(()), 1.0))
        return super().guide(x, num_rows)


@pytest.mark.parametrize(
    ("pair", "chosen", "told"),
    [
        (
            lambda: models.VAE(4, 2, likelihood="normal"),
            inference.Alternating(),
            "VAE does not say what they are.*'sufficient_statistics'.*Use a gradient",
        ),
        (lambda: Global(4, 1), inference.Alternating(), "'all' once for all of them"),
        (
            lambda: FactorAnalysis(4, 1),
            inference.Inference(inference.ELBO(5), update=inference.ClosedForm()),
            "ClosedForm under ELBO.num_particles=5.*Use inference.ELBO",
        ),
        (
            lambda: FactorAnalysis(4, 1),
            inference.Inference(inference.ELBO(kl_weight=0.5), update=inference.ClosedForm()),
            "ClosedForm under ELBO.*kl_weight=0.5",
        ),
        (
            lambda: FactorAnalysis(4, 1),
            inference.Inference(inference.IWELBO(5), update=inference.ClosedForm()),
            "ClosedForm under IWELBO.*Use inference.ELBO",
        ),
        (
            mixture_pair,
            inference.Inference(inference.ELBO(), inference.Enumerate(), update=inference.ClosedForm()),
            "one draw of it at site 'z', where Enumerate makes several",
        ),
    ],
)
def test_what_is_not_sound_is_refused(pair: Any, chosen: Any, told: str) -> None:
    """Catches a closed form that raises another quantity than the one reported."""
    program = pair()
    x = two_clusters(12, program.num_features).to(next(program.parameters()).dtype)
    with pytest.raises(ValueError, match=f"(?s){told}"):
        ppgen.fit(program, x, chosen, **FIT)


def test_a_machine_is_refused() -> None:
    """Catches a maximum of a density whose log Z is left out."""
    chosen = inference.Inference(inference.ELBO(), negative_phase=inference.CD(), update=inference.ClosedForm())
    with pytest.raises(ValueError, match=r"undirected site 'hidden'.*Use a gradient.*inference.PCD"):
        ppgen.fit(models.RBM(4, 2), torch.ones(6, 4), chosen, **FIT)


def test_as_a_loss_it_is_refused() -> None:
    """Catches a loss of pyro.infer.SVI whose optimiser moves what the update sets, or that sets nothing."""
    pair = FactorAnalysis(3, 1)
    for call in (
        lambda: inference.Alternating().loss(pair.model, pair.guide, two_clusters(6, 3)),
        lambda: inference.Alternating()(pair.model, pair.guide)(two_clusters(6, 3)),
    ):
        with pytest.raises(ValueError, match=r"a loss of pyro.infer.SVI only gives gradients.*ppgen\.fit"):
            call()


def test_it_is_told_and_recorded() -> None:
    """Catches an update that a line, a configuration or a name leaves out, and old configurations that have none."""
    chosen = inference.Alternating(0.8)
    assert inference.describe(chosen).endswith("update ClosedForm(forgetting_rate=0.8)")
    config = inference.to_config(chosen)
    assert config["update"] == {"name": "ClosedForm", "forgetting_rate": 0.8, "warmup_steps": 0}
    assert inference.from_config(config) == chosen
    assert "update" not in inference.to_config(inference.Inference(inference.ELBO()))
    assert inference.from_config({name: config[name] for name in config if name != "update"}).update is None
    pair = mixture_pair()
    assert inference.resolve("closed-form", pair) == inference.resolve(inference.ClosedForm(), pair)
    assert inference.resolve("alternating", pair) == inference.Alternating()
    with pytest.raises(TypeError, match="update must be an update such as"):
        inference.Inference(inference.ELBO(), update=inference.ELBO())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rate", "error"), [(0.0, ValueError), (1.1, ValueError), (math.nan, ValueError), ("1", TypeError)]
)
def test_the_rate_lies_in_its_range(rate: Any, error: Any) -> None:
    """Catches averages that never settle."""
    with pytest.raises(error, match="forgetting_rate"):
        inference.Alternating(rate)
