"""Conditional variational autoencoders: of any covariates, of images given their class."""
