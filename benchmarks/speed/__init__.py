"""Speed of ppgen beside its peers: paired, alternating, with the floor that the machine sets."""
