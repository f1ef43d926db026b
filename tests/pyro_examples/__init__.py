"""The programs by which Pyro is taught, small and in words of our own: each is fitted, checked and exported."""
