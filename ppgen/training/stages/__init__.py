"""What calls a fit or goes on from one: greedy pretraining, classifiers, refinement."""
