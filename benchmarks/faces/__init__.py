"""What a convolutional deep belief network learns from faces."""
