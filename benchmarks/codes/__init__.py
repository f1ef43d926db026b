"""Sparse codes and the codes of autoencoders beside what their users have instead."""
