"""What is written when training has ended: estimates, draws of the posterior, and figures."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppgen.batch import num_rows, parts_of
from ppgen.commands import evaluate
from ppgen.commands.data import Data, first_rows, rows_of
from ppgen.commands.folders import FIGURES, POSTERIOR, watched
from ppgen.evaluation import Estimate, PartitionSandwich
from ppgen.inference.structure.layout import find_layout

BUDGET = 1_000_000  # log-weights: a few seconds for a small model, some minutes for a large one on CPU
MOST_PARTICLES, FEWEST_PARTICLES = 1000, 50
CHECKED_ROWS = 5_000  # of the training data, of which a check draws some
ANNEALED_ROWS, ANNEALED_CHAINS, ANNEALED_BETAS = 20, 16, 100  # seconds for 192 codes of 144 features
POSTERIOR_ROWS = 50
POSTERIOR_SAMPLES = (100, 500)
POSTERIOR_VALUES = 4_000_000  # of the data, drawn again: some tens of megabytes


def report(
    run: Any, data: Data, *, num_particles: int | None = None, quiet: bool = False, **options: Any
) -> Mapping[str, Estimate]:
    """Evaluate a run, print the estimates, and write them, draws of the posterior and figures into its folder.

    Args:
        run: A run with a folder.
        data: Its data.
        num_particles: Particles a datum for importance sampling; None is what a modest budget allows.
        quiet: Whether to show no progress bars.
        **options: Other arguments of `ppgen.evaluation.log_likelihood`.
    """
    split, rows = rows_of(data, None)
    if num_particles is None:
        num_particles = max(FEWEST_PARTICLES, min(MOST_PARTICLES, BUDGET // num_rows(rows)))
    print(f"evaluating the {split} rows of {data.describe()}", flush=True)
    layout = find_layout(run.pair, first_rows(rows, 2))
    folder = Path(run.folder)
    estimates: Mapping[str, Estimate] = {}
    judged = rows
    if not layout.improper:  # where a prior is flat there is no likelihood
        if layout.points and num_rows(rows) > ANNEALED_ROWS:
            judged, few = first_rows(rows, ANNEALED_ROWS), {"num_chains": ANNEALED_CHAINS, "betas": ANNEALED_BETAS}
            options = few | options
            print(
                f"log p(x) of the first {ANNEALED_ROWS} of them: the guide has points, which give no bound, and "
                f"annealing takes long; of all of them: ppgen evaluate {folder}",
                flush=True,
            )
        estimates = evaluate.evaluate(
            run.pair, judged, num_particles=num_particles, progress=watched(quiet), both_sides=True, **options
        )
    evaluate.show(estimates)
    train = None if split == "train" or judged is not rows else first_rows(data.train, CHECKED_ROWS)
    checked = _check(run, judged, train, estimates, num_particles, options.get("seed", 0))
    print(checked, flush=True)
    evaluate.write(run, data, split, estimates, checked)
    write_posterior(run, first_rows(rows, POSTERIOR_ROWS), folder / POSTERIOR)
    pictures = write_figures(run, data, folder / FIGURES)
    print(f"run: {folder}  (config.json, model.safetensors, metrics.csv, {evaluate.EVALUATION})")
    print(f"draws of the posterior of {min(num_rows(rows), POSTERIOR_ROWS)} {split} rows: {folder / POSTERIOR}")
    print(f"figures: {', '.join(str(path) for path in pictures)}", flush=True)
    return estimates


def _check(
    run: Any,
    rows: Any,
    train: Any,
    estimates: Mapping[str, Estimate],
    num_particles: int,
    seed: int,
) -> Any:
    """How far the fit can be believed, with the estimates that are there already."""
    from ppgen import diagnostics

    if not estimates:
        return diagnostics.check(run, rows)
    log_z = estimates.get("log Z")
    known = log_z is not None and (log_z.kind == "exact" or isinstance(log_z, PartitionSandwich))
    return diagnostics.check(
        run,
        rows,
        train=train,
        log_likelihood=estimates["log-likelihood"],
        partitions=log_z if known else None,  # else from both sides
        num_particles=num_particles,
        seed=seed,
    )


def write_posterior(run: Any, rows: Any, path: Path) -> None:
    """Write draws of the guide given rows as a DataTree that ArviZ reads."""
    from ppgen import diagnostics
    from ppgen.training.run_folder.checkpoint import replacing

    fewest, most = POSTERIOR_SAMPLES
    num_samples = max(fewest, min(most, POSTERIOR_VALUES // sum(part.numel() for part in parts_of(rows))))
    drawn = run.pair.draws_data
    tree = diagnostics.from_pyro_svi(run.pair, rows, num_samples=num_samples, posterior_predictive=drawn)
    content = io.BytesIO()  # not the file itself: on a full disk HDF5 breaks off the whole process
    tree.to_netcdf(content, engine="h5netcdf")
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())


def write_figures(run: Any, data: Data, folder: Path) -> list[Path]:
    """Draw the figures of a run into `figures/` of its folder; their paths.

    Raises:
        ValueError: If a link would lead out of the folder.
    """
    from ppgen.diagnostics import figures
    from ppgen.training.run_folder.contents import check_no_links

    check_no_links(folder.parent)
    figures.write_all(run, data, folder)
    return sorted(folder.glob("*.png"))
