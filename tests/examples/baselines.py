"""Baselines with other settings than their own."""

from ppgen import inference

BASELINES = {
    "MovingAverage": [inference.MovingAverage(decay=0.8)],
    "InputDependent": [inference.InputDependent(hidden=3)],
}
