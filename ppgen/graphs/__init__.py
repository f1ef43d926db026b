"""Graphs of tensor operations: rewrites that shorten them, their random draws, and their compilation."""
