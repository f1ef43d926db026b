"""Variational autoencoders: plain, hierarchical, with discrete latents."""
