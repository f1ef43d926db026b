"""Normalised laws that Pyro does not have."""
