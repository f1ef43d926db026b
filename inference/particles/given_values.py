"""Log-densities of guide and model at given values of the sites that the guide draws."""

from typing import Any

from pyro import poutine
from pyro.poutine.util import site_is_subsample

from ppgen.batch import split_batch
from ppgen.inference.particles.factors import Factor, site_factor
from ppgen.inference.particles.particle_runs import model_run, particle_trace
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.traces import sites


def factors_at(
    pair: Any, batch: Any, values: poutine.Trace, layout: Layout, num_particles: int = 1
) -> dict[tuple[str, str], Factor]:
    """Log-densities by program, `"guide"` or `"model"`, and site.

    Sites of the model that are summed out, and those that depend on them, are one term; it has the name of the last.

    Args:
        pair: A pair, running.
        batch: A batch of data.
        values: Values of the sites, and rows that plates take at random.
        layout: Structure of the pair.
        num_particles: Particles that are run at once.
    """
    args, kwargs = split_batch(batch)
    guide, model = (poutine.replay(program, trace=values) for program in (pair.guide, pair.model))
    drawn = sites(particle_trace(guide, num_particles, layout, args, kwargs))
    trace, summed = model_run(model, num_particles, layout, args, kwargs)
    depending = {} if summed is None else summed.potentials
    found = {("guide", name): site_factor(site, -1, layout) for name, site in drawn.items() if _counts(site)}
    for name, site in sites(trace).items():
        if _counts(site) and name not in depending and name not in layout.marginalised:
            found["model", name] = site_factor(site, 1, layout)
    if summed is not None and depending:
        name = list(depending)[-1]
        columns = summed.columns(summed.sizes.get(layout.plate or "", 1))
        found["model", name] = Factor.of_columns(name, 1, columns, layout.plate, inside=True)
    return found


def with_same_rows(values: poutine.Trace, *traces: poutine.Trace) -> poutine.Trace:
    """Values of some trace with the rows that plates of others took at random, so that they take the same again."""
    found = values.copy()
    for trace in traces:
        for name, site in trace.nodes.items():
            if site["type"] == "sample" and site_is_subsample(site) and name not in found.nodes:
                found.nodes[name] = site
    return found


def _counts(site: Any) -> bool:
    return not site["infer"].get("_deterministic")
