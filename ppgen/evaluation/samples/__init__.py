"""Draws of a model against rows of data: Parzen windows, kernel distances, modes."""
