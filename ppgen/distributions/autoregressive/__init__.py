"""Vectors as products of the laws of their entries, the laws of one entry, orders."""
