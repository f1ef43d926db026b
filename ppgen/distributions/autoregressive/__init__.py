"""Laws of a vector as a product of the laws of its entries, each given those before it."""
