"""What users give as data, in every place that takes them: accepted as one thing, or refused by the argument's name."""

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import scipy.sparse
import torch
from torch.utils.data import DataLoader, TensorDataset

import ppgen
from ppgen import datasets, diagnostics, evaluation, models
from ppgen.checks.arrays import as_tensor

BITS = (np.random.default_rng(0).random((40, 6)) < 0.5).astype(np.float64)


def _vae():
    torch.manual_seed(0)
    return models.VAE(features=6, latent=2, hidden=(4,))


def _model(x, y=None):
    weight = pyro.param("weight", torch.zeros(6))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x @ weight, 1.0))
        pyro.sample("x", dist.Normal(z[..., None], 1.0).to_event(1), obs=x)


def _guide(x, y=None):
    loc = pyro.param("loc", torch.zeros(()))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc.expand(len(x)), 1.0))


def _pair():
    return ppgen.Pair(_model, _guide)


def _fit(pair, data):
    return ppgen.fit(pair, data, steps=1, progress=False)


PLACES = {
    "fit": lambda x: _fit(_vae(), x),
    "fit a pair": lambda x: _fit(_pair(), x),
    "fit a tuple": lambda x: _fit(_pair(), (x,)),
    "fit a mapping": lambda x: _fit(_pair(), {"x": x}),
    "evaluate": lambda x: evaluation.log_likelihood(_vae(), x, method="elbo", num_particles=2),
    "draw like": lambda x: ppgen.sample(_pair(), 40, like=x),
    "complete": lambda x: ppgen.sample(models.RBM(6, 3), 2, given=x, sweeps=1, warmup_steps=0),
    "collect": lambda x: diagnostics.from_pyro_svi(_vae(), x, num_samples=2, prior=False),
    "refine": lambda x: ppgen.training.refine(_vae(), x, steps=1),
    "load": lambda x: datasets.load(x),
}

WRONG = {
    "complex": (BITS + 1j, "must be booleans, integers or floats, got complex"),
    "complex tensor": (torch.tensor(BITS + 1j), "must be booleans, integers or floats, got complex"),
    "sparse": (scipy.sparse.csr_matrix(BITS), "sparse csr_matrix.*toarray"),
    "sparse tensor": (torch.tensor(BITS).to_sparse(), "sparse tensor.*to_dense"),
    "text": (pd.DataFrame({"one": [1.0, 2.0], "name": ["a", "b"]}), "got dtype object .columns without numbers: name"),
    "objects": (BITS.astype(object), "got dtype object"),
    "masked whole numbers": (np.ma.masked_array(BITS.astype(int), mask=BITS == 0), r"masked entries.*astype\(float\)"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", WRONG)
def test_what_holds_no_real_numbers_is_refused(place, kind):
    """Catches an imaginary part or a mask that is lost, and the bare errors of other libraries."""
    value, message = WRONG[kind]
    with pytest.raises((TypeError, ValueError), match=message):
        PLACES[place](value)


@pytest.mark.parametrize("value", [DataLoader(TensorDataset(torch.ones(4, 6))), TensorDataset(torch.ones(4, 6))])
@pytest.mark.parametrize("place", PLACES)
def test_loaders_are_refused(place, value):
    """Catches a loader of batches that is taken for rows, or for a constant of the program."""
    with pytest.raises(TypeError, match=f"{type(value).__name__}|got (DataLoader|TensorDataset)"):
        PLACES[place](value)


@pytest.mark.parametrize("place", ["fit", "fit a pair", "fit a tuple", "draw like", "load"])
def test_lists_are_refused_where_they_may_be_several_arguments(place):
    """Catches two arguments in a list that are stacked to one."""
    with pytest.raises(TypeError, match="^(data|data.0.|like|name) must .* got list"):
        PLACES[place](BITS.tolist())


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(BITS),
        np.ma.masked_array(BITS),
        BITS.astype(">f8"),
        np.asfortranarray(BITS),
        BITS[::-1][::-1],
        torch.tensor(BITS),
        BITS.astype(np.float32),
    ],
    ids=["data frame", "no mask", "big-endian", "by columns", "view", "tensor", "single"],
)
@pytest.mark.parametrize("place", ["fit", "fit a pair", "fit a tuple", "fit a mapping", "evaluate"])
def test_tables_are_the_same_numbers(place, table):
    """Catches a table that is refused in one place and taken in another, and numbers in another order or precision."""
    torch.manual_seed(0)
    expected, found = PLACES[place](BITS), PLACES[place](table)
    if place == "evaluate":
        assert found.value == pytest.approx(expected.value, rel=1e-6)
    else:
        for name, value in expected.pair.state_dict().items():
            assert value.dtype == torch.float32 and torch.equal(found.pair.state_dict()[name], value)


def test_masked_entries_are_missing_values():
    """Catches masked numbers that are taken for data."""
    masked = np.ma.masked_array(BITS, mask=np.arange(240).reshape(40, 6) == 3)
    assert as_tensor(masked, "x").isnan().nonzero().tolist() == [[0, 3]]
    with pytest.raises(ValueError, match="nan at row 0, feature 3"):
        _fit(_vae(), masked)
    with pytest.raises(ValueError, match="row 0 holds NaN"):
        PLACES["evaluate"](masked)
    drawn = ppgen.sample(models.RBM(6, 3), 2, given=masked, sweeps=1, warmup_steps=0).samples
    assert torch.equal(drawn[:, 1:], torch.tensor(BITS[1:]).float().expand(2, 39, 6))


@pytest.mark.parametrize("data", [BITS, torch.tensor(BITS)], ids=["array", "tensor"])
def test_double_precision_data_before_and_after_a_fit(data):
    """Catches data of NumPy's type that fail before parameters of single precision exist and work afterwards."""
    fresh, fitted = _pair(), _fit(_pair(), BITS.astype(np.float32)).pair
    for pair in (fresh, fitted):
        assert ppgen.sample(pair, 40, like=data).samples.dtype == torch.float32
        evaluation.log_likelihood(_pair() if pair is fresh else pair, data, num_particles=2)
    first = _fit(_pair(), data)
    assert first.config["model"]["example"]["dtype"] == "float32"
    second = _fit(first.pair, data)
    assert second.config["model"]["example"] == first.config["model"]["example"]


def test_double_precision_is_chosen_by_the_parameters():
    """Catches data that are rounded although the parameters are of double precision."""
    vae = _vae().double()
    run = _fit(vae, datasets.as_dataset(BITS))
    assert run.config["model"]["example"]["dtype"] == "float64"
    assert evaluation.log_likelihood(vae, BITS.astype(np.float32), num_particles=2).value < 0


def test_two_precisions_in_one_program_are_named():
    """Catches a bare error of a matrix product where a constant of the program has another type."""
    matrix = torch.eye(6, dtype=torch.float64)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(pyro.param("at", torch.zeros(())).expand(len(x)), 1.0))
            pyro.sample("x", dist.Normal(x @ matrix + z[..., None], 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(pyro.param("loc", torch.zeros(())).expand(len(x)), 1.0))

    told = r"torch.float(32|64) and torch.float(32|64) together.*torch.float32 of 'captured.*pair.double\(\)"
    with pytest.raises(TypeError, match=told):
        _fit(ppgen.Pair(model, guide), BITS.astype(np.float32))


def test_several_arguments_may_be_arrays():
    """Catches a tuple of arrays that evaluation takes and training refuses."""
    y = np.arange(40)

    def model(x, y=None):
        weight = pyro.param("weight", torch.zeros(6))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Poisson((x @ weight).exp()), obs=y)

    seen: list = []
    run = _fit(ppgen.Pair(model, lambda x, y=None: seen.append((x.dtype, None if y is None else y.dtype))), (BITS, y))
    assert run.pair.captured is not None and seen[-1] == (torch.float32, torch.int64)
