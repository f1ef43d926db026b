"""Which latent units are used, and how."""
