"""Where ours does not do as Pyro's losses do, and why."""

import re

# What Pyro runs and we refuse, in words: by the name of the program and of the loss, with the reason.
REFUSED: dict[tuple[str, str], str] = {
    ("AutoNormal of regression", "MeanField"): "AnalyticKL says where there is no closed form; Pyro's takes the draw",
    ("AutoNormal of hierarchy", "MeanField"): "AnalyticKL says where there is no closed form; Pyro's takes the draw",
    ("observations of a plate under scale 0.1", "Renyi"): "a scale inside of a logarithm is no bound",
    ("observations of a plate under scale tensor(0.5000)", "Renyi"): "a scale inside of a logarithm is no bound",
    ("observations of a plate under scale tensor([0.1000, 0.9000])", "Renyi"): "a scale in a logarithm is no bound",
}

# What is refused so far, in these words.
PENDING = re.compile("has no vectorised plate|could not run 2 particles at once: at or after site 'k'")
