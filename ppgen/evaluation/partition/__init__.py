"""log Z of machines."""
