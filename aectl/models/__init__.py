"""Autoencoders: codes, likelihoods, the terms of the objective, and networks."""
