"""Machines of words, ratings and real values beside what their users have instead."""
