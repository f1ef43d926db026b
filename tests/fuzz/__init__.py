"""Corpora of hostile input, each made from seeds: the whole of them by `make fuzz`, some of each in the tests."""
