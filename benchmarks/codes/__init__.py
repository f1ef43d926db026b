"""Sparse codes and autoencoders, measured."""
