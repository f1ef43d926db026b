"""Control variates of score functions: a moving average, a network of the input."""
