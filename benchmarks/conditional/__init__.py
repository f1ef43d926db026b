"""Conditional models beside the methods that their users have instead."""
