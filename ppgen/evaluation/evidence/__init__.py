"""log p(all data) of programs with latents common to all data, and the joint weights that it is made of."""
