"""Write the tables of results into README.md and docs/results.md from the records, none by hand.

python benchmarks/render.py            # write
python benchmarks/render.py --check    # exit code 1 if they are out of date
"""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

import record

README = record.ROOT / "README.md"
PAGE = record.ROOT / "docs" / "results.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"

Record = Mapping[str, Any]

PREFACE = """\
# Results

<!-- Written by benchmarks/render.py from benchmarks/results/*.json; edits are lost. -->

Every figure here was measured by one command and rendered from its record in `benchmarks/results/`. Log-
likelihoods are in nats per image; higher is better. The first error is the Monte Carlo standard error,
what another seed of the estimator would change; the one in brackets is the standard error over the test
images. Match the binarisation before comparing: MNIST with dynamic, fixed and threshold bits are three
different data sets, whose figures differ by several nats.
"""

CURVES = """\
![Validation value against minutes of training](../benchmarks/results/curves.png)

The bound is the one that a run maximises, on validation rows; runs by different algorithms report different ones, so
that heights compare only within one algorithm. Of a Boltzmann machine whose log Z is not known in training it is the
pseudo-log-likelihood, estimated from one flipped bit a row; of a deep one, and of a belief network above one, the free
energy of validation rows less that of training rows, which tells overfitting and no likelihood. Minutes are wall time,
compilation included. `python benchmarks/curves.py` draws the figure.
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
    wanted[README] = with_block(README.read_text(encoding="utf-8"), table(records, published))
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        name = path.relative_to(record.ROOT)
        if given.check:
            print(f"{name} is out of date: run python benchmarks/render.py", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text := wanted[path], encoding="utf-8")
            print(f"{name}: {len(text.splitlines())} lines")
    return 1 if given.check and stale else 0


def table(records: Mapping[str, Record], published: Mapping[str, Record]) -> str:
    """One row a record, in Markdown."""
    head = ["model", "data", "budget", "log p(x), nats", "kind", "published", "command"]
    rows = [_row(each, published) for each in ordered(records)]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def page(records: Mapping[str, Record], published: Mapping[str, Record]) -> str:
    """The page of the documentation: the table, then each record in full."""
    parts = [PREFACE, table(records, published)]
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
    beside = [_published(published[name], link=True) for name in each["published"]]
    return [
        each["model"],
        f"{each['data']['name']}, {each['data']['binarization']}",
        f"{_epochs(each)}, {_minutes(each['seconds']['training'])}",
        value(figure),
        ", ".join(dict.fromkeys((figure["kind"], _method(figure)))),
        "; ".join(beside) or "none",
        f"`{each['command']}`",
    ]


def value(figure: Record) -> str:
    """Value, its Monte Carlo error, and in brackets the error over the data."""
    error, spread = figure["se"], figure.get("data_se")
    decimals = 3 if 0 < error < 0.01 else 2
    text = f"{figure['value']:.{decimals}f}"
    if figure["kind"] != "exact":
        text += f" ± {error:.{decimals}f}" if error >= 5e-4 else " ± <0.001"
    return text if spread is None else f"{text} (± {spread:.2f})"


def _method(figure: Record) -> str:
    """Method, without the request for which it was chosen: "auto: exact" is "exact"."""
    return str(figure["method"]).removeprefix("auto: ")


def _published(entry: Record, link: bool) -> str:
    source = f"[{entry['source']}]({entry['link']})" if link else entry["source"]
    return f"{entry['value']:.2f} ({entry['budget']}; {source})"


def _section(each: Record, published: Mapping[str, Record]) -> str:
    hardware, memory, seconds = each["hardware"], each["peak_memory_mib"], each["seconds"]
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB"
    if hardware["device"] != "cpu":
        machine += f"; {hardware['device']}"
    settings = {key: _plain(setting) for key, setting in each["training"].items() if key != "seed"}
    training = ", ".join(f"{key} {setting}" for key, setting in settings.items())
    threads = f"{hardware['threads']} thread{'' if hardware['threads'] == 1 else 's'}"
    rate = each["seconds"]["training"] / each["budget"]["updates"] * 1000
    lines = [
        f"## {each['model']} on {each['data']['name']}",
        "",
        "```console",
        f"$ {each['command']}",
        "```",
        "",
        "| figure | nats | kind | method |",
        "| --- | --- | --- | --- |",
        *(f"| {label} | {value(f)} | {f['kind']} | {_method(f)} |" for label, f in each["figures"].items()),
        "",
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
    drawn = {
        "samples": f"Samples of the {each['model']}",
        "completions": f"Test digits whose lower half the {each['model']} draws",
    }
    shown = [what for what in drawn if (record.RESULTS / f"{what}-{each['name']}.png").exists()]
    if shown:
        lines += ["", f"`python benchmarks/pictures.py {each['name']} --data-dir ../shared/data` draws:"]
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
