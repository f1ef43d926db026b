"""Convergence of chains, free energies of data and chains."""
