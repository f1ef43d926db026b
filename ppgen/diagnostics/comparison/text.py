"""A comparison in words: the table, and what may be concluded from it."""

from typing import Any

import numpy as np

from ppgen.diagnostics.comparison.differences import MANY, seed_means, shown
from ppgen.diagnostics.comparison.rows import LOG_EVIDENCE
from ppgen.training.data.whole_data import ONE_DATUM

_HEADS = ("log p(x) ± se", "kind", "gradient variance", "k-hat > 0.7", "R-hat", "seconds", "peak MiB", "seeds")


def table(found: Any) -> str:
    """The table, sorted by log-likelihood, and the sentences below it.

    Args:
        found: A `Comparison` with all its variables.
    """
    several = found.sizes["model"] > 1
    keys = _planned(found)
    means = {key: float(seed_means(_of(found, key)["log_likelihood"].values)) for key in keys}
    keys.sort(key=lambda key: (np.isnan(means[key]), -means[key] if not np.isnan(means[key]) else 0.0))
    chains = bool(np.isfinite(found["rhat"].values).any())
    columns = [head for head in _HEADS if head != "R-hat" or chains]
    lines = [((("model",) if several else ()) + ("inference", *columns))]
    for key in keys:
        cells = _cells(_of(found, key))
        lines.append((key if several else key[1:]) + tuple(cells[head] for head in columns))
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    rule = "-" * max(map(len, text))
    count = found.sizes["seed"]
    whole = str(found.attrs.get("data", "")).endswith(ONE_DATUM)
    facts = [found.attrs.get(name) for name in ("data", "rows", "budget") if not (whole and name == "rows")]
    models = ", ".join(map(str, found.model.values))
    head = "; ".join([models, *(fact for fact in facts if fact), f"{count} seed{'' if count == 1 else 's'}"])
    return "\n".join([head, text[0], rule, *text[1:], "", *sentences(found)])


def sentences(found: Any) -> list[str]:
    """What may be concluded, one sentence a line."""
    said = [line for model in found.model.values for line in _of_model(found, str(model))]
    if found.sizes["seed"] == 1:
        said.append(
            "With one seed nothing can be said of the spread over seeds: differences are of these fits, and not of the "
            "inferences. Pass seeds=3 or more."
        )
    else:
        paired = "seeds" if all(_joint(_of(found, key)) for key in _planned(found)) else "seeds and rows"
        said.append(
            "± se is the standard error over seeds; intervals of differences are of 95 % for all pairs of a model "
            f"together,\npaired over {paired}."
        )
    kinds = sorted({str(kind) for kind in found["kind"].values.ravel() if str(kind)})
    if len(kinds) > 1:
        said.append(
            f"The values are of several kinds ({', '.join(kinds)}): a lower bound errs low, and what it is behind an "
            "exact value by may be its own error."
        )
    doubtful = [key for key in _planned(found) if _share(_of(found, key)) > MANY]
    rows = [", ".join(key) for key in doubtful if not _joint(_of(found, key))]
    if rows:
        said.append(
            f"k-hat exceeds 0.7 in more than {MANY:.0%} of the rows of {'; '.join(rows)}: those values err low by "
            "more than their errors say, and more particles help little. See diagnostics.importance_weights."
        )
    whole = [", ".join(key) for key in doubtful if _joint(_of(found, key))]
    if whole:
        said.append(
            f"k-hat of the joint weight of all data exceeds 0.7 in fits of {'; '.join(whole)}: those log-evidences err "
            "low by more than their errors say, and more particles help little. See run.check(data)."
        )
    lone = [", ".join(key) for key in _planned(found) if _unknown(_of(found, key))]
    if lone:
        said.append(
            f"The Monte Carlo error of {'; '.join(lone)} is unknown, as one draw carries the estimate of many rows: "
            "those values err low by nobody knows how much. Evaluate with more particles, or use a better guide."
        )
    said += _failures(found)
    return said


def _of_model(found: Any, model: str) -> list[str]:
    best = found.best(model)
    if best is None:
        return []
    top = _of(found, (model, best))["log_likelihood"].values
    unit = "nats of all data" if str(found.attrs.get("data", "")).endswith(ONE_DATUM) else "nats per datum"
    first = f"{model}: {best} is best, {shown(top)} {unit}."
    same: list[str] = []
    worse: list[str] = []
    means = seed_means(found["log_likelihood"].sel(model=model).values)
    order = [str(found.inference.values[at]) for at in np.argsort(-means) if np.isfinite(means[at])]
    for inference in order:
        if inference == best:
            continue
        gap = found.difference(model, best, inference)
        if gap is None:
            same.append(f"{inference} (no seed in common)")
        else:
            (same if gap.within_noise else worse).append(f"{inference} ({gap})")
    said = [first]
    if same:
        said.append(f"  Within noise of it: {', '.join(same)}.")
    if worse:
        said.append(f"  Below it by more than noise: {', '.join(worse)}.")
    return said


def _failures(found: Any) -> list[str]:
    said = []
    for model in found.model.values:
        for inference in found.inference.values:
            for seed in found.seed.values:
                error = str(found["error"].sel(model=model, inference=inference, seed=seed).values)
                if error:
                    said.append(f"  {model}, {inference}, seed {seed}: {' '.join(error.split())}")
    planned = int(found.planned.sum())
    infinite = int(((found["kind"] != "") & ~np.isfinite(found["log_likelihood"])).sum())
    if infinite:
        said_of = f"{infinite} of {planned} cells gave data a probability of 0 (log p(x) = -inf): means leave them out."
        return [said_of, *_listed(said, planned)]
    return _listed(said, planned)


def _listed(said: list[str], planned: int) -> list[str]:
    return [f"{len(said)} of {planned} cells failed; the same call tries them again:", *said] if said else []


def _cells(cell: Any) -> dict[str, str]:
    values = cell["log_likelihood"].values
    finished, planned = int(np.isfinite(values).sum()), int(cell.planned.sum())
    kinds = sorted({str(kind) for kind in cell["kind"].values if str(kind)})
    share = _share(cell)
    rhat = float(seed_means(cell["rhat"].values))
    return {
        "log p(x) ± se": shown(values),
        "kind": ", ".join(kinds) or "-",
        "gradient variance": _plain(cell["gradient_variance"].values, ".2g"),
        "k-hat > 0.7": ("unknown" if _unknown(cell) else "-") if np.isnan(share) else _bad(cell, share),
        "R-hat": "-" if np.isnan(rhat) else f"{rhat:.3f}",
        "seconds": _plain(cell["seconds"].values, ".1f"),
        "peak MiB": _plain(cell["peak_memory"].values, ".0f"),
        "seeds": str(planned) if finished == planned else f"{finished} of {planned}",
    }


def _plain(values: np.ndarray, form: str) -> str:
    mean = float(seed_means(values))
    return "-" if np.isnan(mean) else f"{mean:{form}}"


def _share(cell: Any) -> float:
    return float(seed_means(cell["bad_pareto_k"].values))


def _bad(cell: Any, share: float) -> str:
    """Share of the rows, or where one weight covers all of them how many fits it is of."""
    if not _joint(cell):
        return f"{share:.0%}"
    known = cell["bad_pareto_k"].values[np.isfinite(cell["bad_pareto_k"].values)]
    return f"{int(known.sum())} of {len(known)} fit{'' if len(known) == 1 else 's'}"


def _joint(cell: Any) -> bool:
    """Whether one weight covers all data, so that there is no value of a row by itself."""
    return any(str(method).startswith(LOG_EVIDENCE) for method in cell["method"].values.ravel())


def _planned(found: Any) -> list[tuple[str, str]]:
    """Models and inferences of the table, in their order."""
    every = [(str(model), str(inference)) for model in found.model.values for inference in found.inference.values]
    return [key for key in every if bool(_of(found, key).planned.any())]


def _unknown(cell: Any) -> bool:
    """Whether there is a value whose Monte Carlo error is unknown."""
    there = np.isfinite(cell["log_likelihood"].values)
    return bool((there & np.isnan(cell["log_likelihood_mcse"].values)).any())


def _of(found: Any, key: tuple[str, str]) -> Any:
    return found.sel(model=key[0], inference=key[1])
