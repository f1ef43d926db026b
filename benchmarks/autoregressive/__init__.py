"""Autoregressive models: exact likelihoods beside published ones and beside rivals, and what draws and steps cost."""
