"""Sigmoid belief nets, Helmholtz machines, deep belief nets, stochastic feedforward nets."""
