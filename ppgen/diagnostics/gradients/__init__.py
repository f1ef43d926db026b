"""Gradient estimators side by side."""
