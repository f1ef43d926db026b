"""log p(x), one method a file."""
