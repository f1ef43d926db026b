"""NumPyro as fast as it goes: SVI updates in one jitted `fori_loop`, the batches gathered inside it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax.example_libraries import stax
from numpyro.infer import SVI, RenyiELBO, Trace_ELBO

from benchmarks.speed import synthetic
from benchmarks.speed.synthetic import FEATURES, HIDDEN, LATENT

ROUND = 20  # steps of one call of the compiled loop


def encoder() -> Any:
    """Layers to the location and the scale of the latent variables."""
    heads = stax.parallel(stax.Dense(LATENT), stax.serial(stax.Dense(LATENT), stax.Exp))
    return stax.serial(stax.Dense(HIDDEN), stax.Tanh, stax.Dense(HIDDEN), stax.Tanh, stax.FanOut(2), heads)


def decoder() -> Any:
    """Layers to the logits of the bits."""
    return stax.serial(stax.Dense(HIDDEN), stax.Tanh, stax.Dense(HIDDEN), stax.Tanh, stax.Dense(FEATURES))


def model(x: jax.Array) -> None:
    """Standard Normal latent, Bernoulli bits."""
    decode = numpyro.module("decoder", decoder(), (len(x), LATENT))
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(LATENT), 1.0).to_event(1))
        numpyro.sample("x", dist.Bernoulli(logits=decode(z)).to_event(1), obs=x)


def guide(x: jax.Array) -> None:
    """Normal guide from the encoder."""
    encode = numpyro.module("encoder", encoder(), (len(x), FEATURES))
    loc, scale = encode(x)
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(loc, scale).to_event(1))


def vae_step(particles: int = 1, batch_size: int = 128, device: str = "cpu") -> Callable[[int], dict[str, Any]]:
    """Steps in rounds of `ROUND`; says how many there were."""
    jax.config.update("jax_default_device", jax.devices(device)[0])  # an error where JAX has no such device
    loss = Trace_ELBO() if particles == 1 else RenyiELBO(alpha=0, num_particles=particles)
    svi = SVI(model, guide, numpyro.optim.Adam(synthetic.LEARNING_RATE), loss)
    data = jnp.asarray(synthetic.bits(synthetic.BATCHES * batch_size))
    batches = synthetic.order(len(data), batch_size)
    state = svi.init(jax.random.PRNGKey(0), data[:batch_size])

    @partial(jax.jit, donate_argnums=0)
    def several(state: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
        def body(index: int, carried: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
            moved, value = svi.update(carried[0], data[rows[index]])
            return moved, value

        return jax.lax.fori_loop(0, len(rows), body, (state, jnp.zeros(())))

    def run(steps: int) -> dict[str, Any]:
        nonlocal state
        rounds = -(-steps // ROUND)
        for _ in range(rounds):
            rows = jnp.stack([jnp.asarray(next(batches)) for _ in range(ROUND)])
            state, value = several(state, rows)
        value.block_until_ready()
        return {"steps": rounds * ROUND}

    run(ROUND)
    return run
