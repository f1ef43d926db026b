"""Machines of layers: energy, laws, samplers, enumeration, mean field, modes, tempering."""
