"""How good the models are that ppgen trains, in nats."""
