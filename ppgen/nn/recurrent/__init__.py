"""Cells of recurrent networks and their runs over positions."""
