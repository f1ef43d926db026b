"""Arguments that are True or False, everywhere: no text, which would count as true."""

import numpy as np
import pytest
import torch

import ppgen
from ppgen import datasets, diagnostics, evaluation, inference, models
from ppgen.checks.switches import check_switches

X = torch.eye(4)


def _rbm():
    return models.RBM(4, 2)


def _vae():
    return models.VAE(features=4, latent=1, hidden=(2,))


SWITCHES = {
    "progress of fit": lambda v: ppgen.fit(_vae(), X, steps=1, progress=v),
    "restore_best": lambda v: ppgen.fit(_vae(), X, steps=1, restore_best=v, progress=False),
    "progress of sample": lambda v: ppgen.sample(_rbm(), 2, progress=v),
    "progress of chains": lambda v: inference.sample(inference.BlockGibbs(_rbm()), 2, num_chains=2, progress=v),
    "progress of pretrain": lambda v: ppgen.training.pretrain(models.DBN(4, (2, 2)), X, progress=v),
    "progress of compare_inferences": lambda v: ppgen.compare_inferences(_vae, X, ["elbo"], progress=v),
    "progress of log_likelihood": lambda v: evaluation.log_likelihood(_vae(), X, progress=v),
    "vectorize_particles of log_likelihood": lambda v: evaluation.log_likelihood(_vae(), X, vectorize_particles=v),
    "progress of log_partition": lambda v: evaluation.log_partition(_rbm(), progress=v),
    "distributed": lambda v: evaluation.log_partition(_rbm(), distributed=v),
    "progress of bdmc": lambda v: evaluation.bdmc(_vae(), num_data=2, progress=v),
    "prior": lambda v: diagnostics.from_pyro_svi(_vae(), X, prior=v),
    "posterior_predictive": lambda v: diagnostics.from_pyro_svi(_vae(), X, posterior_predictive=v),
    "log_likelihood": lambda v: diagnostics.from_pyro_svi(_vae(), X, log_likelihood=v),
    "vectorize_particles of discrete_sites": lambda v: diagnostics.discrete_sites(_vae(), X, vectorize_particles=v),
    "vectorize_particles of latent_units": lambda v: diagnostics.latent_units(_vae(), X, vectorize_particles=v),
    "packed": lambda v: datasets.load(np.eye(4), packed=v),
    "memory_map": lambda v: datasets.load(np.eye(4), memory_map=v),
    "centred": lambda v: inference.PCD(centred=v),
    "wake": lambda v: inference.ReweightedWakeSleep(wake=v),
    "vectorize_particles of ELBO": lambda v: inference.ELBO(vectorize_particles=v),
    "normalise": lambda v: inference.InputDependent(normalise=v),
    "autoregressive": lambda v: models.SigmoidBeliefNet((4, 2), autoregressive=v),
    "learn_variance": lambda v: models.GaussianRBM(4, 2, learn_variance=v),
}


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("value", ["no", 0.0, [True]])
def test_a_switch_is_true_or_false(name, value):
    """Catches a "no" that counts as true."""
    with pytest.raises(TypeError, match=rf"{name.split()[0]} must be True(, | or )False"):
        SWITCHES[name](value)


def test_bools_of_numpy_are_switches():
    """Catches a result of a comparison of arrays that is refused."""
    check_switches(a=np.bool_(True), b=False)
    check_switches(optional=("c",), c=None)
    with pytest.raises(TypeError, match="c must be True or False, got None"):
        check_switches(c=None)
