"""Fully observed models with exact likelihoods: each variable given those before it."""
