"""Discrete sites summed out: their factors, variable elimination, chains by a parallel scan, their posterior."""
