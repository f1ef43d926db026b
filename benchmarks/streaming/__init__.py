"""Rows read from disk beside rows in memory."""
