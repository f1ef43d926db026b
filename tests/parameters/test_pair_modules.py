"""Modules that plain functions refer to: registered by `pyro.module`, called as PyroModules, or out of sight."""

import copy
import pickle
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import ppgen
from ppgen import evaluation, inference, models

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(2))


def guide(x: Tensor) -> None:
    scale = pyro.param("scale", torch.tensor(0.5), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(0.5 * x, scale).to_event(1))


def decoder_pair(net: nn.Module, register: bool = True) -> ppgen.Pair:
    """Plain functions whose model decodes by a network that it refers to."""

    def model(x: Tensor) -> None:
        if register:
            pyro.module("net", net)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(net(z), 1.0).to_event(1), obs=x)

    return ppgen.Pair(model, guide)


def normalised_net() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize("kind", ["plain", "pyro"])
def test_a_step_by_graph_trains_a_registered_module(kind) -> None:
    """Catches weights of a module in a closure that are frozen into the graph or never captured."""
    net = nn.Linear(3, 3) if kind == "plain" else pyro.nn.PyroModule[nn.Linear](3, 3)
    pair = decoder_pair(net, register=kind == "plain")
    before = net.weight.detach().clone()
    pair.prepare(X)
    bound = inference.resolve("elbo", pair).bind(pair, X, len(X))
    traced = ppgen.training.steps.traced_step.TracedStep(bound, dict(pair.named_parameters()))
    assert traced.check(X) is None
    ppgen.fit(pair, (X,), "elbo", steps=5, progress=False)
    assert any(parameter is net.weight for parameter in pair.parameters())
    assert not torch.equal(net.weight, before)


def test_buffers_and_flags_of_a_registered_module_are_the_pairs(tmp_path) -> None:
    """Catches running means that no checkpoint holds, and a network left in training mode."""
    whole = normalised_net()
    ppgen.fit(decoder_pair(whole), (X,), "elbo", steps=9, batch_size=20, progress=False)

    def stop(event):
        if event.kind == "checkpoint" and event.step == 4:
            event.stop()

    settings = {"steps": 9, "batch_size": 20, "progress": False, "folder": tmp_path, "resume": "auto"}
    ppgen.fit(decoder_pair(normalised_net()), (X,), "elbo", checkpoint_minutes=0, callbacks=[stop], **settings)
    resumed = normalised_net()
    ppgen.fit(decoder_pair(resumed), (X,), "elbo", checkpoint_minutes=10, **settings)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    pair = decoder_pair(whole)
    pair.prepare(X)
    pair.eval()
    assert not whole[1].training


def test_looking_at_a_pair_leaves_running_means_alone() -> None:
    """Catches dry runs that count as training steps of a batch normalisation."""
    net = normalised_net()
    pair = decoder_pair(net)
    pair.prepare(X)
    inference.resolve("elbo", pair).bind(pair, X, len(X))
    assert int(net[1].num_batches_tracked) == 0


def test_a_state_loaded_before_the_first_call_reaches_the_module() -> None:
    """Catches weights of a registered module that wait for ever."""
    trained = decoder_pair(normalised_net())
    ppgen.fit(trained, (X,), "elbo", steps=5, progress=False)
    fresh = decoder_pair(normalised_net())
    fresh.load_state_dict(trained.state_dict())
    fresh.prepare(X)
    for name, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name


def test_a_module_out_of_sight_is_trained_eagerly_with_a_warning() -> None:
    """Catches a module in an object that is neither trained nor spoken of."""
    hidden = SimpleNamespace(net=nn.Linear(3, 3))

    def model(x: Tensor) -> None:
        net = pyro.module("net", hidden.net)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(net(z), 1.0).to_event(1), obs=x)

    before = hidden.net.weight.detach().clone()
    with pytest.warns(UserWarning, match="could not be found"):
        ppgen.fit(ppgen.Pair(model, guide), (X,), "elbo", steps=5, progress=False)
    assert not torch.equal(hidden.net.weight, before)


def test_names_that_differ_in_dots_only_raise() -> None:
    """Catches two parameters that silently share one tensor."""

    def model(x: Tensor) -> None:
        loc = pyro.param("a.b", torch.tensor(0.0)) + pyro.param("a__b", torch.tensor(1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x[:, 0])

    with pytest.raises(ValueError, match="differ in more than dots"):
        ppgen.Pair(model, lambda x: None).prepare(X)


def test_terms_outside_the_plate_that_are_no_latents_do_not_pool_the_rows() -> None:
    """Catches one importance weight for the whole batch because of a deterministic site or a prior on parameters."""

    def pair(extra: bool) -> ppgen.Pair:
        def model(x: Tensor) -> None:
            loc = pyro.param("loc", torch.tensor([0.1, 0.2, 0.3]))
            if extra:
                pyro.deterministic("twice", 2 * loc)
                pyro.factor("prior", -loc.square().sum())
            with pyro.plate("data", 240, subsample=x):
                z = pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))
                pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

        return ppgen.Pair(model, guide)

    values = []
    for extra in (False, True):
        each = pair(extra)
        each.prepare(X)
        bound = inference.Inference(inference.IWELBO(20)).bind(each, X, 240)
        torch.manual_seed(0)
        values.append(float(bound.step(X).value))
    assert values[1] == pytest.approx(values[0] - 0.14 / 240, abs=1e-5)


@pytest.mark.parametrize(("dim", "event"), [(-2, True), (-1, False)])
def test_plates_and_shapes_that_do_not_fit_are_named(dim, event) -> None:
    """Catches a data plate at two dimensions, and a forgotten to_event, whose densities are added up in the dark."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            law = dist.Normal(z[:, None] if event else torch.zeros(1), 1.0)
            pyro.sample("x", law.to_event(1) if event else law, obs=x[:, :1])

    def two_dimensional(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=dim):
            pyro.sample("z", dist.Normal(torch.zeros(len(x), 1) if dim == -2 else torch.zeros(len(x)), 1.0))

    pair = ppgen.Pair(model, two_dimensional)
    with pytest.raises((ValueError, RuntimeError), match="dim=|Site 'x'"):
        inference.Inference(inference.ELBO()).bind(pair, X, len(X))


def test_an_attached_log_z_is_stale_after_a_fused_step() -> None:
    """Catches fused optimisers, which write to weights without counting it."""
    bits = (X > 0).float()
    rbm = models.RBM(3, 2)
    ppgen.fit(rbm, bits, steps=2, progress=False)
    law = rbm.machine().marginal("visible").with_log_partition(evaluation.log_partition(rbm))
    law.log_prob(bits)
    ppgen.fit(rbm, bits, steps=2, progress=False)
    with pytest.raises(ValueError, match="changed after log Z"):
        law.log_prob(bits)


@pytest.mark.uses_pyro_store
def test_a_loss_that_was_used_can_be_copied() -> None:
    """Catches a value that cannot be pickled because it remembers what it trained."""
    rbm = models.RBM(3, 2)
    loss = inference.PCD(num_chains=5)
    loss(rbm.model, rbm.guide)((X > 0).float())
    loss.loss(rbm.model, rbm.guide, (X > 0).float())
    assert pickle.loads(pickle.dumps(loss)) == loss == copy.deepcopy(loss)
