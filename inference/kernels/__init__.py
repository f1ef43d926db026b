"""Markov chains: kernels with init and step, and running, compiling and exporting them."""
