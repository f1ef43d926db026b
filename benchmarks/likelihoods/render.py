"""Write the tables of results into README.md and docs/results.md from the records, none by hand.

python -m benchmarks.likelihoods.render            # write
python -m benchmarks.likelihoods.render --check    # exit code 1 if they are out of date
"""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import record

README = record.ROOT / "README.md"
PAGE = record.ROOT / "docs" / "results.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"

Record = Mapping[str, Any]

PREFACE = """\
# Results

<!-- Written by benchmarks/likelihoods/render.py from benchmarks/results/*.json; edits are lost. -->

Every figure here was measured by one command and rendered from its record in `benchmarks/results/`. Log-
likelihoods are in nats per image; higher is better. The error is the Monte Carlo standard error, what another seed
of the estimator would change. Match the binarisation before comparing: MNIST with bits drawn anew, fixed bits and
threshold bits are three different data sets, whose figures differ by several nats, and so each has a table. Minutes are
those of training; published figures often took many more. Below the tables each model has its estimator, data,
settings, machine, sources and command. The commands find data that cannot be fetched in the folder that the
environment variable `PPGEN_DATA` names.
"""

# What the README shows, in this order.
DIGEST = (
    "iwae-mnist",
    "vae-mnist",
    "hvae-mnist",
    "rbm-500-fresh-bits",
    "dbm-500-1000",
    "rbm-500-smooth",
    "dbn-500-500",
    "sbn-200-200-vimco-hour",
    "sbn-200-200-200-disarm",
    "rbm-16",
)
VARIANTS = {
    ("mnist", "dynamic"): "MNIST, bits drawn anew",
    ("mnist", "threshold"): "MNIST, threshold bits",
    ("mnist_fixed_binarized", "binary"): "MNIST, fixed bits",
    ("digits", "threshold"): "digits 8 x 8, threshold bits",
}
TRAINED_ELSEWHERE = "mnist, tested on mnist_fixed_binarized"

CURVES = """\
![Validation value against minutes of training](../benchmarks/results/curves.png)

The bound is the one that a run maximises, on validation rows; runs by different algorithms report different ones, so
that heights compare only within one algorithm. Of a Boltzmann machine whose log Z is not known in training it is the
pseudo-log-likelihood, estimated from one flipped bit a row; of a deep one, and of a belief network above one, the free
energy of validation rows less that of training rows, which tells overfitting and no likelihood. Minutes are wall time,
compilation included. `python -m benchmarks.curves` draws the figure.
"""

GRADIENTS = """\
## Gradients of one step: {model}

![Signal-to-noise ratio and variance of the gradient by block](../benchmarks/results/gradients-{name}.png)

`{command}` trains the model for some epochs ({epochs} here), then draws the
gradient of one step again and again under each inference: {draws} draws on {rows} rows of {data}.
Open marks are biased. The numbers are in `benchmarks/results/gradients-{name}.json`.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if something is out of date")
    given = parser.parse_args(arguments)
    records, published = record.read_all(), record.published()
    wanted = {PAGE: page(records, published)}
    if not README.exists() or not has_block(README.read_text(encoding="utf-8")):
        print(f"{README.name} has no block between {BEGIN} and {END}: add these two lines.", file=sys.stderr)
        return 1
    wanted[README] = with_block(README.read_text(encoding="utf-8"), digest(records, published))
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        name = path.relative_to(record.ROOT)
        if given.check:
            print(f"{name} is out of date: run python -m benchmarks.likelihoods.render", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text := wanted[path], encoding="utf-8")
            print(f"{name}: {len(text.splitlines())} lines")
    return 1 if given.check and stale else 0


def digest(records: Mapping[str, Record], published: Mapping[str, Record]) -> str:
    """The few rows of the README, each with its data."""
    chosen = [records[name] for name in DIGEST if name in records]
    rows = [[each["model"], variant(each), *_row(each, published)[1:]] for each in chosen]
    return _table(["model", "data", *COLUMNS[1:]], rows)


def overview(records: Mapping[str, Record], published: Mapping[str, Record]) -> str:
    """A table for each variant of the data, one row a record."""
    parts = []
    for title in dict.fromkeys(map(variant, ordered(records))):
        rows = [_row(each, published) for each in ordered(records) if variant(each) == title]
        parts += [f"**{title}**\n", _table(COLUMNS, rows)]
    return "\n".join(parts)


COLUMNS = ["model", "log p(x), nats", "published", "minutes"]


def _table(head: list[str], rows: list[list[str]]) -> str:
    marks = [":---" if name in ("model", "data") else "---:" for name in head]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, marks, *rows)) + "\n"


def variant(each: Record) -> str:
    """The data in words: what they are and how they became bits."""
    data = each["data"]
    if data["name"] == TRAINED_ELSEWHERE:
        return "MNIST, trained on bits drawn anew, tested on the fixed bits"
    return VARIANTS.get((data["name"], data["binarization"]), f"{data['name']}, {data['binarization']}")


def page(records: Mapping[str, Record], published: Mapping[str, Record]) -> str:
    """The page of the documentation: the table, then each record in full."""
    parts = [PREFACE, overview(records, published)]
    if any(each["curve"] is not None for each in records.values()):
        parts.append(CURVES)
    parts += [_section(each, published) for each in ordered(records)]
    drawn = sorted(path.stem.removeprefix("gradients-") for path in record.RESULTS.glob("gradients-*.png"))
    parts += [_gradients(name) for name in drawn]
    return "\n".join(parts)


def _gradients(name: str) -> str:
    """The section of a comparison of gradients."""
    found = json.loads((record.RESULTS / f"gradients-{name}.json").read_text(encoding="utf-8"))
    counts = found["comparison"]["attrs"]
    return GRADIENTS.format(
        name=name,
        model=found["model"],
        command=found["command"],
        data=found["data"],
        epochs=found["training"]["epochs"],
        draws=counts["num_draws"],
        rows=counts["num_rows"],
    )


def ordered(records: Mapping[str, Record]) -> list[Record]:
    """Larger data first, directed models before undirected ones as their names sort."""
    return sorted(records.values(), key=lambda each: (-each["data"]["rows"]["train"], each["model"]))


def has_block(text: str) -> bool:
    """Whether a text has both marks in order."""
    return BEGIN in text and END in text[text.index(BEGIN) :]


def with_block(text: str, content: str) -> str:
    """The text with what stands between the marks replaced."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{content}{END}{after}"


def _row(each: Record, published: Mapping[str, Record]) -> list[str]:
    figure = each["figures"][each["headline"]]
    beside = [f"{published[name]['value']:.2f}" for name in each["published"]]
    value_ = value(figure | {"data_se": None})
    return [each["model"], value_, ", ".join(beside), f"{each['seconds']['training'] / 60:.1f}"]


def value(figure: Record) -> str:
    """Value, its Monte Carlo error, and in brackets the error over the data."""
    error, spread = figure["se"], figure.get("data_se")
    decimals = 3 if 0 < error < 0.01 else 2
    text = f"{figure['value']:.{decimals}f}"
    if figure["kind"] != "exact":
        text += f" ± {error:.{decimals}f}" if error >= 5e-4 else " ± <0.001"
    return text if spread is None else f"{text} (± {spread:.2f})"


def _kind_and_method(figure: Record) -> str:
    """Both, without the request for which the method was chosen: "auto: exact" is "exact"."""
    method = str(figure["method"]).removeprefix("auto: ")
    return ", ".join(dict.fromkeys((figure["kind"], method)))


def _section(each: Record, published: Mapping[str, Record]) -> str:
    hardware, memory, seconds = each["hardware"], each["peak_memory_mib"], each["seconds"]
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB"
    if hardware["device"] != "cpu":
        machine += f"; {hardware['device']}"
    settings = {key: _plain(setting) for key, setting in each["training"].items() if key != "seed"}
    training = ", ".join(f"{key} {setting}" for key, setting in settings.items())
    threads = f"{hardware['threads']} thread{'' if hardware['threads'] == 1 else 's'}"
    rate = each["seconds"]["training"] / each["budget"]["updates"] * 1000
    headline = each["figures"][each["headline"]]
    lines = [
        f"## {each['model']}: {variant(each)}",
        "",
        f"{each['headline']}: {value(headline)} nats, {headline['kind']}.",
        "",
        "<details>",
        "<summary>figures, data, settings and command</summary>",
        "",
        "```console",
        f"$ {each['command']}",
        "```",
        "",
        *(f"- {label}: {value(f)}, {_kind_and_method(f)}" for label, f in each["figures"].items()),
        f"- Data: {each['data']['description']}; {each['data']['rows']['train']:,} training, "
        f"{each['data']['rows']['valid']:,} validation and {each['data']['rows']['test']:,} test rows.",
        f"- Inference: {each['inference']}; {training}; seed {each['seed']}.",
        f"- Budget: {_epochs(each)}, {each['budget']['updates']:,} updates, "
        f"{_minutes(seconds['training'])} of training ({rate:.1f} ms an update), "
        f"{_minutes(seconds['evaluation'])} of evaluation.",
        f"- Peak memory of the process: {memory['training']:,} MiB in training, {memory['whole']:,} MiB in all.",
        f"- Machine: {machine}, {threads}; "
        + ", ".join(f"{name} {number}" for name, number in each["versions"].items())
        + ".",
    ]
    warnings = [f["warning"] for f in each["figures"].values() if f.get("warning")]
    lines += [f"- Warning of the estimator: {text}." for text in dict.fromkeys(warnings)]
    for name in each["published"]:
        entry = published[name]
        lines.append(
            f"- Published: {entry['value']:.2f} ({entry['kind']}; {entry['model']}; {entry['data']}; "
            f"{entry['estimator']}; {entry['budget']}), read {entry['read']}: "
            f"[{entry['source']}]({entry['link']})."
        )
    lines += ["", "</details>"]
    drawn = {
        "samples": f"Samples of the {each['model']}",
        "completions": f"Test digits whose lower half the {each['model']} draws",
    }
    shown = [what for what in drawn if (record.RESULTS / f"{what}-{each['name']}.png").exists()]
    if shown:
        lines += ["", f"`python -m benchmarks.pictures {each['name']}` draws:"]
    for what in shown:
        lines += ["", f"![{drawn[what]}](../benchmarks/results/{what}-{each['name']}.png)"]
    return "\n".join([*lines, ""])


def _epochs(each: Record) -> str:
    done, target = each["budget"]["epochs"], each["budget"]["target_epochs"]
    return f"{done} epochs" if done >= target else f"{done} of {target} epochs"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _plain(setting: Any) -> str:
    if isinstance(setting, Mapping):
        options = ", ".join(f"{key} {item}" for key, item in setting.items() if key != "name")
        return f"{setting['name']} ({options})" if options else str(setting["name"])
    return str(setting)


if __name__ == "__main__":
    sys.exit(main())
