"""What joins two layers of a machine."""
