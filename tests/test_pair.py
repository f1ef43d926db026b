"""Pairs of every make: functions, modules, AutoGuides; their parameters are found, saved and kept out of the store."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints
from pyro.infer.autoguide import AutoDelta, AutoGuideList, AutoMultivariateNormal, AutoNormal
from pyro.nn import PyroModule, PyroParam, pyro_method
from torch import Tensor, nn

import ppgen
from ppgen import inference, testing
from ppgen.pair import Pair, as_pair

X = torch.tensor([[0.4, 1.0], [-0.3, 0.2], [1.5, -1.1]])


def functions() -> Pair:
    """Plain functions with `pyro.param` (constrained too) and `pyro.module`."""
    encoder = nn.Linear(2, 1)

    def model(x: Tensor) -> None:
        scale = pyro.param("scale", x.new_tensor(0.7), constraint=constraints.positive)
        shift = pyro.param("a.shift", lambda: x.new_zeros(2))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), x.new_ones(1)).to_event(1))
            pyro.sample("x", dist.Normal(z + shift, scale).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        network = pyro.module("encoder", encoder)
        scale = pyro.param("guide_scale", x.new_ones(1) / 2, constraint=constraints.interval(0.1, 2.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(network(x), scale).to_event(1))

    return Pair(model, guide)


class Decoder(PyroModule):
    """A PyroModule with a constrained parameter and a plain child."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 2)
        self.scale = PyroParam(torch.tensor(0.7), constraint=constraints.positive)

    def forward(self, z: Tensor) -> Any:
        return dist.Normal(self.linear(z), self.scale).to_event(1)


class Modules(PyroModule):
    """Model and guide as methods, with plain, PyroModule and PyroModule[...] children."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = Decoder()
        self.encoder = PyroModule[nn.Sequential](PyroModule[nn.Linear](2, 3), nn.Tanh(), PyroModule[nn.Linear](3, 1))
        self.guide_scale = PyroParam(torch.tensor(0.5), constraint=constraints.positive)

    @pyro_method
    def model(self, x: Tensor) -> None:
        decoder = self.decoder
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), x.new_ones(1)).to_event(1))
            pyro.sample("x", decoder(z), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        loc, scale = self.encoder(x), self.guide_scale
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))


def methods() -> Pair:
    module = Modules()
    return Pair(module.model, module.guide)


def two_modules() -> Pair:
    model, guide = Modules(), Modules()
    del model.encoder, model.guide_scale, guide.decoder
    return Pair(model.model, guide.guide)


def regression(x: Tensor) -> None:
    slope = pyro.sample("slope", dist.Normal(x.new_tensor(0.3), x.new_tensor(1.0)))
    noise = pyro.sample("noise", dist.LogNormal(x.new_tensor(0.1), x.new_tensor(0.5)))
    shift = pyro.param("shift", lambda: x.new_tensor(0.2))
    with pyro.plate("data", 30, subsample=x):
        pyro.sample("y", dist.Normal(slope * x[..., 0] + shift, noise), obs=x[..., 1])


def auto_list() -> Pair:
    """Parts of one guide; `poutine.block` hides the model's own parameters, so it has none."""
    model = pyro.poutine.lift(regression, prior={"shift": dist.Normal(0.0, 1.0)})
    guide = AutoGuideList(model)
    guide.append(AutoNormal(pyro.poutine.block(model, expose=["slope", "shift"])))
    guide.append(AutoNormal(pyro.poutine.block(model, expose=["noise"])))
    return Pair(model, guide)


PAIRS = {
    "functions": functions,
    "methods": methods,
    "two modules": two_modules,
    "AutoNormal": lambda: Pair(regression, AutoNormal(regression)),
    "AutoGuideList": auto_list,
    "AutoMultivariateNormal": lambda: Pair(regression, AutoMultivariateNormal(regression)),
}


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_contract(make: Any, device: torch.device) -> None:
    """Catches parameters that are lost, left in Pyro's store, without a gradient, or not in the saved state."""
    pair, x = make().to(device), X.to(device)
    pair.prepare(x)
    testing.check_pair(pair.to(torch.float64), x.double())
    assert {tensor.device.type for tensor in pair.parameters()} == {device.type}


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_training_moves_every_parameter_and_improves(make: Any) -> None:
    """Catches captured copies that are trained while the program goes on with its own."""
    pair = make()
    pair.prepare(X)
    bound = inference.Inference(inference.ELBO(num_particles=20)).bind(pair, X, num_data=30)
    before = {name: tensor.detach().clone() for name, tensor in pair.named_parameters()}
    first = torch.stack([bound.value(X) for _ in range(20)]).mean()
    optimiser = torch.optim.Adam(pair.parameters(), lr=0.02)
    for _ in range(40):
        for name, gradient in bound.step(X).gradients.items():
            dict(pair.named_parameters())[name].grad = gradient
        optimiser.step()
    assert [name for name, tensor in pair.named_parameters() if torch.equal(tensor, before[name])] == []
    assert torch.stack([bound.value(X) for _ in range(20)]).mean() > first + 0.05


def test_state_before_the_first_call() -> None:
    """Catches a checkpoint of functions that can be loaded only after their parameters exist, or is overwritten."""
    first, second = functions(), functions()
    first.prepare(X)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.3)
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    second.load_state_dict(state)
    second.prepare(X)
    assert list(second.state_dict()) == list(state)
    assert all(torch.equal(second.state_dict()[name], value) for name, value in state.items())


def test_constraints_are_kept() -> None:
    """Catches a positive parameter that does not start at its value, or that an optimiser can carry below zero."""
    pair = functions()
    pair.prepare(X)
    with pair.running():
        assert pyro.poutine.trace(pair.guide).get_trace(X).nodes["guide_scale"]["value"].item() == pytest.approx(0.5)
    with torch.no_grad():
        pair.captured.scale.fill_(-50.0)
        pair.captured.guide_scale.fill_(50.0)
    with pair.running():
        trace = pyro.poutine.trace(pair.model).get_trace(X)
        guide = pyro.poutine.trace(pair.guide).get_trace(X)
    assert 0 < trace.nodes["scale"]["value"] < 1e-10
    assert 0.1 <= guide.nodes["guide_scale"]["value"] <= 2.0


def test_names_of_captured_parameters() -> None:
    """Catches names that a checkpoint or an optimiser cannot hold, or that change from run to run."""
    pair = functions()
    pair.prepare(X)
    expected = {"scale", "a__shift", "encoder.weight", "encoder.bias", "guide_scale"}
    assert {name.removeprefix("captured.") for name, _ in pair.named_parameters()} == expected


def test_an_autoguide_of_a_per_datum_site_needs_all_rows() -> None:
    """Catches a guide with one set of parameters per row of the first batch, trained or called on others."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[..., 0])

    for guide in (AutoNormal(model), AutoDelta(model)):
        pair, whole = Pair(model, guide), inference.Inference(inference.ELBO())
        pair.prepare(X)
        assert whole.bind(pair, X, num_data=len(X)).step(X).value.isfinite()
        told = r"site 'z' one set of parameters per row of plate 'data', 3 in all.*"
        with pytest.raises(ValueError, match=told + rf"batch_size={2 * len(X)}.*amortised"):
            whole.bind(pair, X, num_data=2 * len(X))
        with pytest.raises(ValueError, match=told + "this one has 2 rows"):
            pair.prepare(X[:2])


def test_prepare_leaves_no_trace() -> None:
    """Catches a preparation that draws from the caller's random stream or makes parameters twice."""
    pair = functions()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    pair.prepare(X)
    names = [id(parameter) for parameter in pair.parameters()]
    pair.prepare(X)
    assert torch.equal(torch.rand(2), expected)
    assert [id(parameter) for parameter in pair.parameters()] == names


def test_batches() -> None:
    """Catches a tuple taken for the first argument, or constants that get lost."""
    seen = []

    def model(x: Tensor, y: Tensor, factor: float = 1.0, *, scale: float = 1.0) -> None:
        seen.append((factor, scale))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(pyro.param("m", torch.tensor(0.0)), 1.0))
            pyro.sample("y", dist.Normal(z + x, scale), obs=y)

    def guide(x: Tensor, y: Tensor, factor: float = 1.0, *, scale: float = 1.0) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(y - x, 1.0))

    x, y = torch.zeros(3), torch.ones(3)
    for batch, constants in (((x, y), (2.0,)), ({"x": x, "y": y}, ())):
        pair = Pair(model, guide, model_args=constants, model_kwargs={"scale": 0.5})
        pair.prepare(batch)
        assert inference.log_weights(pair, batch, 2).local.shape == (2, 3)
        assert set(seen) == {(constants[0] if constants else 1.0, 0.5)}
        seen.clear()


def test_what_is_no_pair() -> None:
    """Catches a model without a guide that fails with an AttributeError of ours."""
    with pytest.raises(TypeError, match=r"Linear. Wrap two Pyro programs as ppgen\.Pair\(model, guide\)"):
        as_pair(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="guide must be a callable"):
        Pair(regression, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "latents", "as_event", "message"),
    [
        (0, 5, True, r"plate\('data'\) at site z dim -1, 3 vs 5 of its law. Give the plate the rows of the batch"),
        (0, 1, False, r"plate\('data'\) at site x dim -1, 3 vs 2 of its law.*\.to_event\(1\)\.$"),
        (1, 1, True, "Site 'x' of the model does not fit its plates"),
    ],
    ids=["latents", "observations", "rows"],
)
@pytest.mark.uses_pyro_store
@pytest.mark.parametrize("prepared", [True, False], ids=["fit", "SVI"])
def test_shapes_that_do_not_fit_the_plate(
    rows: int, latents: int, as_event: bool, message: str, prepared: bool
) -> None:
    """Catches an error in Pyro's words with a table of shapes, which says nothing of what to do."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x) + rows):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            law = dist.Normal(z.unsqueeze(-1).expand(*z.shape, 2), 1.0)
            pyro.sample("x", law.to_event(1) if as_event else law, obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x) + rows):
            pyro.sample("z", dist.Normal(pyro.param("m", torch.tensor(0.2)) * torch.ones(latents), 1.0))

    with pyro.validation_enabled(True), pytest.raises(ValueError, match=message):
        if prepared:
            ppgen.fit(Pair(model, guide), X, "elbo", steps=1, seed=0, progress=False)
        else:
            pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), loss=inference.ELBO()).step(X)
