"""Causal networks: parameters of each entry from the entries before it, at once or step by step."""
