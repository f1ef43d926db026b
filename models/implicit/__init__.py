"""Implicit models: networks of noise that are drawn and have no density, and laws around what they draw."""
