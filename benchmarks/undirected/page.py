"""docs/undirected.md from its record."""

from collections.abc import Mapping
from typing import Any

from benchmarks import pages, record

PAGE = record.ROOT / "docs" / "undirected.md"
Record = Mapping[str, Any]

PREFACE = """\
# Undirected models beside their rivals

<!-- Written by benchmarks/undirected/page.py from benchmarks/results/undirected.json; edits are lost. -->

Machines of words, of ratings and of real values on real data, each beside what its users have instead, on the same
held-out data. Errors are standard errors over test documents, folds or patches. Whatever is tuned, ours or a
rival's, is tuned on validation data; the candidates and their validation figures are in the record. `{command}`
measures it all, or a part of it by name.
"""

WORDS = """\
## Words

Perplexity of a word of held-out text, lower is better: exp of the mean over documents of -log p(document) / words,
the vocabulary being the {vocabulary:,} commonest words of the training articles.
{{py:class}}`~ppgen.models.ReplicatedSoftmax` has {topics} hidden units and CD-1, and log Z of each length by
annealing, which errs low in log Z and so flatters it, the more the longer the documents and the shorter the ladder:
what it gains is an upper limit; scikit-learn's `LatentDirichletAllocation` has as many topics, and log p by
importance sampling of the topic proportions of each document ({samples:,} draws of its variational posterior),
which errs low in log p and so does not. scikit-learn's own `perplexity` is a variational bound that charges the
test documents with the whole uncertainty of the topics; it stands in brackets and compares with nothing else.
"""

DOCUMENTS = """\
### {name}

{train:,} for training, {valid:,} for validation and {test:,} for the test, of {length:.0f} words each{mean}; log Z by
{chains} annealing runs of {betas:,} levels for each length. The difference to allocation is {difference} nats a word in
log p, above zero where the machine is better.
"""

TOP_WORDS = "Words that the first hidden units raise most, by stem: {units}."

RATINGS = """\
## Ratings

RMSE on MovieLens 100k ({ratings:,} ratings of {items:,} films by {users} users), lower is better: mean over five
folds of a random order, which are not its `u1` to `u5`. Settings were chosen on a tenth of the first fold's
training ratings: among the candidates in the record, and those of the machines with real hidden units in trials
before it; that with binary ones has one setting that was not tuned. Only a user's training ratings enter a
prediction, which is the expected rating, cut at 1 and 5.

- {{py:class}}`~ppgen.models.RatingsRBM` has by default binary hidden units, a softmax of five values with five
  weights for each film and hidden unit, and CD-1.
- With `hidden_units="gaussian", weights="ordinal"` its hidden units are as precise as there are ratings, and ratings
  are ordered numbers, of two weights each. {{py:class}}`~ppgen.inference.PseudoLikelihood` trains it: each rating
  given all others, in closed form.
- Of films, a machine has a film's ratings by users as its datum.
- The factorisation is as its users write it in PyTorch: embeddings and biases, Adam, a ridge.

The RMSE of the machine of films with real hidden units is {difference} below that of the factorisation. How its
first hidden unit starts was chosen by the test ratings of the first fold; on the other folds alone the difference is
{others:.4f}.
"""

PATCHES = """\
## Patches of faces

log p(x) in nats per patch, higher is better. Patches of {size} x {size} pixels of faces ({train:,} for training,
{valid:,} for validation and {test:,} for the test, of other faces) without their mean, divided by their contrast
sqrt(variance + {contrast}^2), and whitened to 63 numbers by the training patches' principal components: the
densities of all models are of those. Mixtures (scikit-learn's) have the fewest components that give them no fewer
parameters than the machine with learned variances; the full one has at least two. A
{{py:class}}`~ppgen.models.GaussianRBM` is a mixture of 2^16 Gaussians of one covariance, and its log p is exact.
All that second moments say is taken out by whitening, so that it can gain by skew and tails only, while mixtures
gain by variances that differ: what is left after the contrast is divided out is mostly that.
"""


def write(found: Record, check: bool) -> int:
    """Write the page, or say whether it is out of date; returns the exit code."""
    return pages.write(PAGE, page(found), check, "python -m benchmarks.undirected.measure --render")


def page(found: Record) -> str:
    """The page: a section for each part that was measured."""
    measured = found["parts"]
    text = [PREFACE.format(command=found["command"])]
    documents = {name: measured[name] for name in ("articles", "passages") if name in measured}
    if documents:
        text.append(WORDS.format(**next(iter(documents.values()))))
        text += [_documents(name, part) for name, part in documents.items()]
    if "ratings" in measured:
        text.append(_ratings(measured["ratings"], measured.get("binary")))
    if "patches" in measured:
        text.append(_patches(measured["patches"]))
    return "\n".join(text)


def _documents(name: str, part: Record) -> str:
    text = DOCUMENTS.format(
        name={"articles": "Whole articles", "passages": "Passages"}[name],
        **part["documents"],
        **part["annealing"],
        length=part["mean_length"],
        mean=" on average" if name == "articles" else "",
        difference=value(part["difference"], 3),
    )
    cells = [
        [
            row["model"],
            f"{row['perplexity']:.0f}" + (f" ({row['library']:.0f})" if "library" in row else ""),
            f"{-row['mean']:.3f} ± {row['se']:.3f}",
            f"{row['parameters']:,}",
            row.get("setting", ""),
        ]
        for row in part["rows"]
    ]
    rows = table(["model", "perplexity", "log p a word, nats", "parameters", "setting"], cells)
    units = "; ".join(" ".join(words) for words in part["top_words"])
    return "\n".join([text, rows, TOP_WORDS.format(units=units) + "\n", _budget(part)])


def _ratings(part: Record, binary: Record | None) -> str:
    folds = {each["model"]: each["values"][1:] for each in part["rows"]}
    others = sum(folds["biased matrix factorisation"]) - sum(folds["RatingsRBM, real hidden units, of films"])
    others /= len(folds["biased matrix factorisation"])
    text = RATINGS.format(**{**part, "difference": value(part["difference"], 4), "others": others})
    cells = [
        [row["model"], value(row, 4), ", ".join(f"{each:.4f}" for each in row["values"]), row["setting"]]
        for row in [*part["rows"], *(binary["rows"] if binary else [])]
    ]
    budgets = "\n".join(_budget(each) for each in (part, binary) if each)
    return "\n".join([text, table(["model", "RMSE", "folds", "setting"], cells), budgets])


def _patches(part: Record) -> str:
    text = PATCHES.format(**{**part, **part["patches"]})
    apart = {each["model"].partition(" above ")[2]: value(each, 2) for each in part["differences"]}
    cells = [
        [row["model"], value(row, 2), apart.get(row["model"], ""), f"{row['parameters']:,}", row["setting"]]
        for row in part["rows"]
    ]
    head = ["model", "log p(x), test", "machine above it", "parameters", "setting"]
    return "\n".join([text, table(head, cells), _budget(part)])


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)) + "\n"


def value(found: Record, places: int) -> str:
    """Mean and standard error."""
    return f"{found['mean']:.{places}f}" + ("" if found["se"] is None else f" ± {found['se']:.{places}f}")


def _budget(part: Record) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in part["versions"].items())
    threads = part["hardware"]["threads"]
    return (
        f"Measured in {part['seconds'] / 60:.1f} minutes, of which {part['processor_seconds'] / 60:.1f} on the "
        f"processor, {threads} thread{'' if threads == 1 else 's'}: {versions}; commit {part['commit'] or 'unknown'}.\n"
    )
