"""What models are made of: checked arguments, likelihoods, layers, priors."""
