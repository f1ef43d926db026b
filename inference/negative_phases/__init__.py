"""How the gradient of log Z is supplied, one negative phase a file."""
