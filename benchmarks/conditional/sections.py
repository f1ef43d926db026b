"""Sections of docs/conditional.md: each is a function from the folder of records to its text."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.conditional import quadrants as quadrants_job
from benchmarks.conditional.attributes import KINDS
from benchmarks.undirected.page import table

Record = Mapping[str, Any]
NOT_RUN = "not run yet"
WANTED = {1: "-67 / -66", 2: "-48 / -47", 3: "-23 / -22"}
ABOVE = 5.0  # nats that ours are to be above the example
PUBLISHED = {
    1: "-71.8 of the example's tutorial (its own ELBO, grey levels)",
    2: "-51.0 (the same)",
    3: "-24.2 (the same)",
}
QUADRANTS = """\
## Completed quadrants

log p(y | x) in nats, higher is better, of the quadrants of MNIST's 10,000 test images that are not given, y, given the
others, x: {py:class}`~ppgen.models.ConditionalVAE`, latent 50, two layers of 500 units, bits drawn anew for each epoch.
All rows are scored by importance sampling with 5,000 draws of each model's recognition network; the value errs low, the
more the larger the share of rows whose weights have a Pareto k above .7. The bound, which is what is often reported,
stands in brackets. *Pyro's example* is its method (a network without latents, whose guess the prior network sees)
written anew, trained by Pyro's own ELBO on the same bits for as many seconds as ours, with the weights of its best
validation epoch. `hybrid` is `ELBO(prior_weight=0.2)`; `prior as guide` is the Gaussian stochastic network, followed by
IWELBO(5): its draws come from p(z | x), which makes its weights poor where y says much. Published figures are of other
estimators and data and are no rivals.
"""
ATTRIBUTES = """\
## Images with attributes that are asked for

R² between the attributes of MNIST's test images (ink, slant and width, from moments), which a conditional VAE is asked
to draw, and those that are measured on what it drew: on the grey levels, and on bits drawn with them. The levels are
wanted at .95 or above.
"""
FEW_LABELS = """\
## Few labels

Error in % on test rows, lower is better, mean and standard deviation over splits of the labels; the weight of the label
term is chosen on validation rows of the first split. M2 is {py:class}`~ppgen.models.SemiSupervisedVAE`, M1+M2
{py:class}`~ppgen.models.StackedSemiSupervisedVAE` on one autoencoder that all splits share.
"""
LABELS_WANTED = {
    ("mnist", "M2"): ("7.2 / 6.5", "11.97 ± 1.71 (Kingma et al., 2014); 6.8 of Pyro's example"),
    ("mnist", "M1+M2"): ("3.3 / 2.8", "3.33 ± .14 (Kingma et al., 2014)"),
    ("mnist", "logistic regression"): ("", ""),
    ("digits", "M2"): ("half of logistic regression's", ""),
    ("digits", "M1+M2"): ("half of logistic regression's", ""),
    ("digits", "logistic regression"): ("", ""),
}


def quadrants(folder: Path) -> str:
    """Rows of completed quadrants."""
    found = read(folder, "conditional-quadrants")
    cells = []
    for given in (1, 2, 3):
        for name in quadrants_job.rows_of(given):
            row, first = found["rows"].get(name), name == quadrants_job.rows_of(given)[0]
            wanted, published = (WANTED[given], PUBLISHED[given]) if first else ("", "")
            if name.endswith(quadrants_job.EXAMPLE):
                wanted = f"ours {ABOVE:g} above"
            apart = found.get("differences", {}).get(name)
            above = "" if apart is None else f"; ours {apart:+.2f}"
            cells.append([name, NOT_RUN if row is None else _nats(row) + above, _training(row), wanted, published])
    head = ["what", "found", "training", "wanted", "published"]
    return f"{QUADRANTS}\n{table(head, cells)}\n{made('conditional.quadrants', found)}"


def attributes(folder: Path) -> str:
    """Rows of attributes that are asked for."""
    found = read(folder, "conditional-attributes")
    cells = []
    for name in KINDS.values():
        row = found["rows"].get(name)
        told = [NOT_RUN, ""] if row is None else [_shares(row["levels"]), _shares(row["bits"])]
        cells.append([name, *told, _training(row), ".95 each"])
    head = ["what", "levels", "bits", "training", "wanted"]
    return f"{ATTRIBUTES}\n{table(head, cells)}\n{made('conditional.attributes', found)}"


def few_labels(folder: Path) -> str:
    """Errors with few labels."""
    cells, sources = [], []
    for data in ("mnist", "digits"):
        found = read(folder, f"semi_supervised-{data}")
        labels = found.get("settings", {}).get("labels", {"mnist": 100, "digits": 50}[data])
        for kind in ("M2", "M1+M2", "logistic regression"):
            mean = found.get("means", {}).get(kind)
            told = NOT_RUN if mean is None else f"{mean['test error %']:.2f} (sd {mean['sd']:.2f})"
            cells.append([f"{data}, {labels} labels: {kind}", told, *LABELS_WANTED[data, kind]])
        sources.append(made(f"semi_supervised.few_labels {data}", found))
    return f"{FEW_LABELS}\n{table(['what', 'found', 'wanted', 'published'], cells)}\n{''.join(sources)}"


def read(folder: Path, name: str) -> Record:
    """A record, or an empty one."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": {}}


def made(command: str, found: Record) -> str:
    """Where a table comes from."""
    if "versions" not in found:
        return f"`python -m benchmarks.{command}`\n"
    cpu, torch, commit = found["hardware"]["cpu"], found["versions"]["torch"], found["commit"]
    return f"`python -m benchmarks.{command}`: {cpu}, one thread, torch {torch}, commit {commit}.\n"


def _nats(row: Record) -> str:
    value, share = row["nats"], row["share of k above .7"]
    return f"{value['value']:.2f} ± {value['data_se']:.2f} ({row['bound']:.2f}; k above .7: {share:.0%})"


def _training(row: Record | None) -> str:
    return "" if row is None else f"{row['epochs']} epochs, {row['training seconds'] / 60:.0f} min"


def _shares(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in found.items())
