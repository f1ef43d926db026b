"""The smaller batch at the end of an epoch: left out on request, and told where batch normalisation meets one row."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import ppgen

ROWS = torch.randn(21, 3, generator=torch.Generator().manual_seed(0))


class _Normalised(nn.Module):
    def __init__(self, dims: int = 1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)) if dims == 1 else nn.BatchNorm2d(1)
        self.dims = dims

    def forward(self, x):
        return self.net(x) if self.dims == 1 else self.net(x[:, None, None]).squeeze(1).squeeze(1)[:, :2]


def _pair(dims=1, seen=None):
    torch.manual_seed(0)
    net = _Normalised(dims)

    def model(x):
        if seen is not None:
            seen.append(len(x))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), 1.0).expand([len(x), 3]).to_event(1), obs=x)

    def guide(x):
        pyro.module("net", net)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(net(x), 1.0).to_event(1))

    return ppgen.Pair(model, guide)


def _fit(pair, **options):
    return ppgen.fit(pair, ROWS, **{"epochs": 2, "batch_size": 10, "progress": False, "compile": False} | options)


def test_the_last_batch_is_left_out():
    """Catches an epoch that ends early, the same rows left out in all epochs, and a run without a batch."""
    seen: list = []
    run = _fit(_pair(seen=seen), drop_last=True)
    assert run.state["step"] == 4 and len(run.metrics) == 2
    assert seen.count(10) >= 4 and 1 not in seen
    assert run.config["training"]["drop_last"] is True
    assert "drop_last" not in _fit(_pair(), batch_size=7).config["training"]
    with pytest.raises(ValueError, match="drop_last leaves no batch of 21 training rows at batch_size=22"):
        _fit(_pair(), drop_last=True, batch_size=22)
    with pytest.raises(TypeError, match="drop_last must be True or False"):
        _fit(_pair(), drop_last="yes")


def test_a_run_without_last_batches_is_resumed(tmp_path):
    """Catches epochs of another length after a resumption, and a run of other batches that is gone on with."""
    whole = _fit(_pair(), epochs=3, drop_last=True)
    _fit(_pair(), epochs=1, drop_last=True, folder=tmp_path)
    with pytest.raises(ValueError, match="drop_last"):
        _fit(_pair(), epochs=3, folder=tmp_path, resume=True)
    again = _fit(_pair(), epochs=3, drop_last=True, folder=tmp_path, resume=True)
    for name, value in whole.pair.state_dict().items():
        assert torch.equal(again.pair.state_dict()[name], value)


@pytest.mark.parametrize(
    ("options", "remedy"), [({}, "drop_last=True, or another"), ({"batch_size": 1}, "a batch_size of at least 2")]
)
def test_a_last_batch_of_one_row_under_batch_normalisation(options, remedy):
    """Catches an epoch of training before PyTorch's error about values per channel."""
    pair, stopped = _pair(), []
    with pytest.raises(ValueError, match=f"Batch normalisation .*net.1.* a batch of 1 row.*{remedy}"):
        _fit(pair, callbacks=[lambda event: stopped.append(event.kind)], **options)
    assert not stopped


def test_one_row_is_enough_where_it_has_several_values():
    """Catches a sound program refused: images have several values a channel, and a run may end before."""
    assert _fit(_pair(dims=2)).state["step"] == 6
    assert _fit(_pair(), steps=2, epochs=None).state["step"] == 2
    assert _fit(_pair(), batch_size=19).state["step"] == 4
