"""Calls that are tried with hostile arguments, one table a subject."""
