"""How the gradient is estimated at a site, one estimator a file."""
