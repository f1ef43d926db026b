"""Which bound or divergence is followed, one objective a file."""
