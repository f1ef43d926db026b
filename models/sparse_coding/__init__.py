"""Dictionaries of sparse codes."""
