"""Programs as users of Pyro write them: what Pyro's losses say of each, and what ours say."""
