"""Which latent units are used, and how; how likely they are to be large; discrete sites that are summed out."""
