"""Fully observed models: each variable given those before it, with an exact likelihood."""
