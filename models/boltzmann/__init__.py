"""Restricted and deep Boltzmann machines."""
