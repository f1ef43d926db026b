"""Normalizing flows of the data."""
