"""Normalizing flows: noise of another law, moved by an invertible map, one kind of step a file."""
