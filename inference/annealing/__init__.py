"""Annealed importance sampling and its ladders of inverse temperatures."""
