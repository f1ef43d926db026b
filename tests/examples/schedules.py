"""Schedules."""

from ppgen import inference

SCHEDULES = {"Linear": [inference.Linear(steps=10)], "Stages": [inference.Stages({0: 1, 10: 2})]}
