"""Mixtures: each datum is from one of some components."""
