"""Where ours does not do as Pyro's losses do, and why."""

# What Pyro runs and we refuse, in words: by the name of the program and of the loss, with the reason.
REFUSED: dict[tuple[str, str], str] = {}
