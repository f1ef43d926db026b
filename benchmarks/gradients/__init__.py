"""Bias, variance and signal-to-noise ratio of one step's gradient."""
