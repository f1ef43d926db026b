"""How good a guide is: importance weights, gaps, advice."""
