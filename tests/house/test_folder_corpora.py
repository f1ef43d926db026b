"""A part of the corpora of damaged run folders and of killed runs; `make fuzz` runs the whole."""

from fuzz import folders, kills, mutations


def test_damaged_folders_are_refused_by_name_or_give_the_same_numbers():
    """Catches a file of a run that is believed though it was damaged, mixed up or forged, and raw errors of parsers."""
    count = 2 * len(mutations.MUTATIONS)
    tally = folders.run(count)
    assert (tally.tried, tally.lost, tally.tracebacks, tally.silent) == (count, 0, 0, 0), "\n".join(tally.failures)


def test_killed_runs_go_on_as_if_nothing_had_happened():
    """Catches a checkpoint lost or half written, state missing in it, and files that killed writers leave."""
    tally = kills.run(5)
    assert (tally.tried, tally.lost, tally.tracebacks, tally.silent) == (5, 0, 0, 0), "\n".join(tally.failures)
