"""Updates in closed form, in the place of optimiser and gradient, one a file."""
