"""Draws of Pyro, of guides and of chains as ArviZ reads them."""
