"""Estimators with other settings than their own."""

from ppgen import inference

ESTIMATORS: dict[str, list[inference.Estimator]] = {
    "ScoreFunction": [
        inference.ScoreFunction(),
        inference.ScoreFunction(inference.InputDependent(hidden=3, normalise=False)),
    ],
    "Relaxed": [inference.Relaxed(temperature=0.4)],
    "StraightThrough": [inference.StraightThrough(temperature=0.4)],
    "Enumerate": [inference.Enumerate(), inference.Enumerate(max_states=8)],
}

BIASED = ("Relaxed", "StraightThrough")
"""Those whose mean is not the gradient of the objective, as their papers say."""

ELSEWHERE = ("MeanField", "AnalyticELBO")
"""Those that ask more of a program than the pairs of the contract have, and are tested where they have it."""
