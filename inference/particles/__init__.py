"""Log-weights of particles, joint states of discrete sites, draws from the model."""
