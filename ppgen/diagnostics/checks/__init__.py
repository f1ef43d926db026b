"""The report on a fit."""
