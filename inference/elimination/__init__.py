"""Discrete sites summed out: their potentials, variable elimination, chains by a parallel scan, their posterior."""
