"""`ppgen evaluate`: the log-likelihood of a trained model with its error, and log Z of an undirected one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ppgen import evaluation
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.commands import COMMANDS
from ppgen.commands.data import Data, data_of_run, data_options, first_rows, rows_of
from ppgen.commands.errors import UsageError
from ppgen.commands.folders import load_run, watched
from ppgen.commands.options import options_of
from ppgen.commands.parser import Parser
from ppgen.evaluation import Estimate
from ppgen.evaluation.likelihood.given_partitions import unasked_partition
from ppgen.evaluation.likelihood.methods import METHODS
from ppgen.evaluation.partition.partition import enumerable
from ppgen.evaluation.program import examine
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.machine_sites import undirected_sites
from ppgen.training.environment import resolve_device
from ppgen.training.run_folder import checkpoint
from ppgen.version import __version__

EVALUATION = "evaluation.json"
_ANNEALING = ("num_chains", "betas", "seed")


def main(arguments: Sequence[str]) -> int:
    """Run `ppgen evaluate FOLDER`; where a prior is flat it is how well data are reconstructed that can be told."""
    parser = _parser()
    values = parser.read(arguments)
    run = load_run(values["folder"])
    data = data_of_run(run, values)
    split, rows = rows_of(data, values["split"])
    check_has_likelihood(run.pair, "Log-likelihoods")
    run.pair.to(resolve_device(values["device"]))
    options = {option.name: values[option.name] for option in _options()}
    if examine(run.pair, CheckedRows(rows, run.pair)).layout.improper:
        from ppgen import diagnostics

        checked = diagnostics.check(run.pair, rows)  # what is defined, and what is not and why
        print(f"{checked}\nwritten to {write(run, data, split, {}, checked)}")
        return 0
    estimates = evaluate(run.pair, rows, progress=watched(values["quiet"]), **options)
    print(f"{type(run.pair).__name__} on {data.describe()}, {split} rows")
    show(estimates)
    print(f"written to {write(run, data, split, estimates)}")
    return 0


def evaluate(
    pair: Any, rows: Any, *, method: str = "auto", progress: bool = False, both_sides: bool = False, **options: Any
) -> dict[str, Estimate]:
    """log Z of each undirected site, and the mean log-likelihood of rows computed with it.

    Args:
        pair: A pair.
        rows: Data, (rows, features), or a tuple (x, y) for a model of y given x.
        method: As for `ppgen.evaluation.log_likelihood`.
        progress: Whether to show progress bars.
        both_sides: Whether a log Z that is one for all rows, and is not enumerated, is estimated from both sides with
            equal budgets; without, and unless the method says otherwise, annealing downwards has a smaller one.
        **options: Other arguments of `ppgen.evaluation.log_likelihood`.

    Returns:
        `"log Z"`, or `"log Z of SITE"` where there are several, if the method needs it, and `"log-likelihood"`.

    Raises:
        UsageError: If the method is not known.
        ValueError: If it does not apply, or the rows are not data of the model.
    """
    if method not in METHODS:
        raise UsageError(f"--method must be one of {', '.join(METHODS)}, got {method!r}")
    # Annealing down from the data needs no log Z.
    sites = {} if method == "raise" else undirected_sites(pair, first_rows(rows, 1))
    annealing = {name: options[name] for name in _ANNEALING if options.get(name) is not None}
    partitions = {}
    for site, energy in sites.items():
        x = first_rows(rows, None if energy.batch_shape else 1)  # each row may have a log Z of its own
        how = {"x": x, "progress": progress, **annealing}
        if asked := _method_of_partition(method, energy, both_sides):
            partitions[site] = evaluation.log_partition(pair, site=site, method=asked, **how)
        else:
            partitions[site] = unasked_partition(pair, site, energy, **how)
    named = {"log Z" if len(sites) == 1 else f"log Z of {site}": each for site, each in partitions.items()}
    likelihood = evaluation.log_likelihood(
        pair, rows, method=method, log_partition=partitions or None, progress=progress, **options
    )
    return {**named, "log-likelihood": likelihood}


def _method_of_partition(method: str, energy: Any, both_sides: bool) -> str | None:
    """How log Z was asked for; None if it was not."""
    if method in ("exact", "ais"):
        return method
    return "sandwich" if both_sides and not energy.batch_shape and not enumerable(energy) else None


def show(estimates: Mapping[str, Estimate]) -> None:
    """Print estimates, one a line."""
    width = max(map(len, estimates), default=0)
    for name, estimate in estimates.items():
        print(f"{name:<{width}}  {estimate}", flush=True)


def write(
    run: Any,
    data: Data,
    split: str,
    estimates: Mapping[str, Estimate],
    check: Any = None,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write estimates, a check of the fit, and more, into the folder of their run, with what they were made from."""
    path = Path(run.folder) / EVALUATION
    content = {
        "data": data.describe(),
        "checksum": data.checksum,
        "split": split,
        "epoch": run.state.get("epoch"),
        "step": run.state.get("step"),
        "ppgen": __version__,
        "estimates": {name: estimate.to_dict() for name, estimate in estimates.items()},
        **({} if check is None else {"check": check.to_dict()}),
        **(more or {}),
    }
    checkpoint.write_json(path, content)
    return path


def _options() -> list[Any]:
    return options_of(evaluation.log_likelihood, skip=("pair", "x", "log_partition", "per_position", "progress"))


def _parser() -> Parser:
    parser = Parser("ppgen evaluate", COMMANDS["evaluate"], usage="ppgen evaluate FOLDER [options]")
    parser.add_argument("folder", help="Folder of the run.")
    parser.add_argument("--quiet", action="store_true", help="Show no progress bar.")
    parser.add_argument(
        "--device",
        type=str,
        default="auto",
        help='"auto" is the accelerator that is there, else the CPU.',
    )
    group = parser.add_argument_group("estimate")
    parser.add_options(group, _options())
    group = parser.add_argument_group("data", "By default the data that the run was trained on.")
    group.add_argument(
        "--split", type=str | None, help="train, valid or test; by default test, if there are test rows."
    )
    parser.add_options(group, data_options(required=False))
    return parser
