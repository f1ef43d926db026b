"""Which latent units are used, and how; what discrete sites that are summed out are given the data."""
