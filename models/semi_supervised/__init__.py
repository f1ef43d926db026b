"""Semi-supervised models: some rows tell their class, and that of the others is a latent variable."""
