"""Stochastic feedforward networks beside mixture density networks."""
