"""Pyro's objectives and ours on programs whose gradients are known exactly."""
