"""Whether sites of the model can be summed out as they stand: held against runs in which they have one value."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen.batch import split_batch
from ppgen.inference.elimination.enumerated import out_of_reach
from ppgen.inference.elimination.marginal import Summand
from ppgen.inference.elimination.potentials import Potential
from ppgen.inference.particles.expected_sums import run_with_all_values
from ppgen.inference.particles.factors import drawn_log_prob, summed_log_prob
from ppgen.inference.particles.given_values import with_same_rows
from ppgen.inference.particles.joint_states import check_marginal
from ppgen.inference.particles.particle_runs import draw, explained
from ppgen.inference.particles.sum_scales import check_one_by_one, common_scale
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.traces import data_factor, data_frame, sites
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, forked

_TRIALS = 2
_TOLERANCE = 1e-3  # nats, of the larger of 1 and the log-density


def check_sums(
    pair: Any, batch: Any, layout: Layout, expected: Collection[str] = (), *, vectorize: bool = True
) -> None:
    """Raise unless the log-densities of all values at once are those of single values; the random state is restored.

    A program may depend on a summed site in a way that dimensions do not show: a value of an earlier step of
    `pyro.markov` whose dimension a later step has taken, a comparison of its numbers. So the sites are given a few
    values, the same in all rows, and each log-density is looked up under these values and computed from them.

    Args:
        pair: A pair.
        batch: A batch of data.
        layout: Structure of the pair.
        expected: Sites of the guide over which expectations are taken by elimination.
        vectorize: Whether sites of the model are eliminated; else their joint states are run one by one.

    Raises:
        ValueError: Names the site, and says what to do.
    """
    check_marginal(layout)
    if expected and not layout.sampled:  # draws are other ones at each run
        _check_expectations(pair, batch, layout, expected)
    if layout.marginalised and not vectorize:
        check_one_by_one(layout)
    if not layout.marginalised or not vectorize:
        return
    args, kwargs = split_batch(batch)
    device = device_of(pair, args, kwargs)
    with forked(device), torch.no_grad(), pair.running(), keeping_buffers(pair):
        with explained(lambda: _run_with(pair.model, {}, None, layout, args, kwargs), 1, layout):
            run = draw(pair, batch, 1, layout, None)
        summed: Any = run.summed
        common_scale(summed, sites(run.model_traces[0]), layout, read=True)
        given = with_same_rows(run.guide_trace, *run.model_traces)
        for places, values in _trials(summed):
            runs = [_run_with(pair.model, values, given, layout, args, kwargs) for _ in range(2)]
            _hold(summed, summed.potentials, places, *runs)


def _check_expectations(pair: Any, batch: Any, layout: Layout, names: Collection[str]) -> None:
    """As `check_sums`, of sites of the guide over which expectations are taken by elimination."""
    args, kwargs = split_batch(batch)
    device = device_of(pair, args, kwargs)
    with forked(device), torch.no_grad(), pair.running(), keeping_buffers(pair):
        drawn, stated, law, terms = run_with_all_values(pair, batch, 1, layout, names)
        if any(site["value"].shape != site["fn"].shape() for name, site in sites(drawn).items() if name not in names):
            return  # a draw for each value of a site before it, which one value cannot be held against
        for places, values in _trials(law):
            for program, potentials in ((pair.guide, law.potentials), (pair.model, terms)):
                given = with_same_rows(drawn, stated)
                for name in names:
                    given.remove_node(name)
                runs = [_run_with(program, values, given, layout, args, kwargs) for _ in range(2)]
                _hold(law, potentials, places, *runs)


def _trials(summed: Summand) -> Iterator[tuple[dict[str, int], dict[str, Tensor]]]:
    """Places of single values, and the values."""
    for trial in range(_TRIALS):
        places = {
            name: (2 * at + trial * (1 + at // 2)) % variable.size
            for at, (name, variable) in enumerate(summed.variables.items())
        }
        yield places, {name: summed.variables[name].support[place] for name, place in places.items()}


def _hold(
    summed: Summand,
    potentials: Mapping[str, Potential],
    places: Mapping[str, int],
    first: Mapping[str, Tensor],
    again: Mapping[str, Tensor],
) -> None:
    """Raise where a log-density looked up is not the one computed, unless that changes from run to run (dropout)."""
    for name, potential in potentials.items():
        if (
            name in first
            and _close(first[name], again[name])
            and not _close(_at(summed, potential, places), first[name])
        ):
            raise ValueError(out_of_reach(name, tuple(potential.tensor.shape)))


def _at(summed: Summand, potential: Potential, places: Mapping[str, int]) -> Tensor:
    """Log-density of a site at some values, summed over all plates."""
    tensor = potential.tensor
    for dim, other in reversed(list(enumerate(potential.dims))):
        if other in places:
            tensor = tensor.select(dim, places[other])
    lacking = [summed.sizes[plate] for plate in potential.plates if plate not in potential.dims]
    return tensor.sum() * torch.tensor(lacking or [1]).prod()


def _run_with(program: Any, values: Any, guide_trace: Any, layout: Layout, args: Any, kwargs: Any) -> dict[str, Tensor]:
    """Log-densities of a program's sites with given values, without scales, by name, summed over all their plates."""
    replayed = program if guide_trace is None else poutine.replay(program, trace=guide_trace)
    with _Given(values):
        trace = poutine.trace(replayed).get_trace(*args, **kwargs)
    found = {}
    for name, site in sites(trace).items():
        if not site["infer"].get("_deterministic"):
            of_law = drawn_log_prob if name in layout.marginalised else summed_log_prob
            unscaled = {**site, "scale": data_factor(data_frame(site, layout.plate))}
            found[name] = of_law(unscaled, layout).sum()
    return found


class _Given(Messenger):
    """Handler under which sites have given values in all their plates."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.values:
            msg["value"], msg["done"] = self.values[msg["name"]].expand(msg["fn"].shape()), True


def _close(first: Tensor, second: Tensor) -> bool:
    return bool((first - second).abs() <= _TOLERANCE * torch.maximum(first.abs(), first.new_ones(()))) or bool(
        first == second
    )
