"""Settings of Hypothesis with which a test costs the same in each run."""

from hypothesis import HealthCheck, settings


def few(count: int) -> settings:
    """The same examples each time, nothing written anywhere."""
    return settings(
        max_examples=count, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
