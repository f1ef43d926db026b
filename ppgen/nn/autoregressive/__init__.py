"""Causal networks: the parameters of each entry of a vector follow from the entries before it."""
