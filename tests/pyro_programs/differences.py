"""Where ours does not do as Pyro's losses do, and why."""

_NO_PARAMETER = "there is nothing to train, which is said"
_CLOSED_FORM = "AnalyticKL says where no closed form is known; Pyro's takes the draw"
_SCALE = "a scale inside of a logarithm gives no bound"
_STATES = "sites that are drawn beside too many joint states of those that are summed"
_TOGETHER = "a mean over a plate takes states that are run at once together: told, and they are run one by one"

# What Pyro runs and we refuse, in words: by the name of the program and of the loss, with the reason.
REFUSED: dict[tuple[str, str], str] = {
    **{
        (name, loss): _NO_PARAMETER
        for name in ("an observed event and no latent", "nothing in either", "observed vector, of rows False")
        for loss in ("Trace", "TraceGraph", "TraceEnum")
    },
    **{(f"AutoNormal of {name}", "MeanField"): _CLOSED_FORM for name in ("regression", "hierarchy")},
    **{
        (f"observations of a plate under scale {scale}", "Renyi"): _SCALE
        for scale in ("0.1", "tensor(0.5000)", "tensor([0.1000, 0.9000])")
    },
    **{
        (f"a plate in a loop, {mark}, then another loop {apart}", "TraceEnum"): _STATES
        for mark in ("sequential", "parallel")
        for apart in ("False, checks True", "True, checks False")
    },
    ("a grid", "TraceEnum"): "sites beyond the last step of pyro.markov(keep=True) are out of reach, which is said",
    ("a branch, summed True", "TraceEnum"): "a site that only some of the summed values have",
}

# What Pyro runs without a word and we warn of.
WARNED: dict[tuple[str, str], str] = {
    **{
        (f"a site outside that depends on a plate, {mark}, checks {checks}", "TraceEnum"): _TOGETHER
        for mark in (None, "sequential", "parallel")
        for checks in (True, False)
    },
    **{(f"drawn, then summed {mark}", "TraceEnum"): _TOGETHER for mark in (None, "sequential", "parallel")},
    ("AutoGuideList with discrete sites", "TraceEnum"): "locs[k] takes one set of locations: told, and run one by one",
}

# What Pyro refuses and we run, to a right value.
RUN: dict[tuple[str, str], str] = {
    ("sequential mark in the model", "TraceEnum"): "either mark sums a site of the model out",
}

# Whose mean gradient under a loss is not held against Pyro's, and why; the one by enumeration is what ours has.
EXPECTATIONS: dict[tuple[str, str], str] = {
    **{
        (f"drawn, then summed {mark}", "TraceEnum"): "-0.3483 in pa; Pyro's lacks the costs of what is summed, -0.4120"
        for mark in ("sequential", "parallel")
    },
    ("a branch, summed False", "TraceGraph"): "-0.0100 in p; Pyro's lacks what a branch of Python decides, -0.1300",
    ("a draw outside of the guide's sites", "Trace"): "-0.2238 in m; Pyro's lacks the factor in its own costs, -0.0177",
    ("a draw outside of the guide's sites", "TraceGraph"): "-0.2238 in m; Pyro's has no score of a factor, none",
    ("a factor of the guide, has_rsample False", "Trace"): "no law: a density times exp(m ** 2) has a mass above 1",
}
