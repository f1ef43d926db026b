"""Draws of a trained model, and completions of rows."""
