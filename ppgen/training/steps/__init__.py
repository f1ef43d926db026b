"""One training step: eager, traced or compiled; optimisers and their step sizes."""
