"""Objective, estimators and negative phase put together for one pair; names and legality."""
