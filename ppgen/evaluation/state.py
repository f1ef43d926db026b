"""Running a pair for evaluation without leaving a trace on it or on the caller."""

from ppgen.undisturbed import evaluating as evaluating
