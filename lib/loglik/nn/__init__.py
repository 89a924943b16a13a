"""Small networks that chapters of several parts share, and their initialisation from a generator."""

from loglik.nn.networks import ACTIVATIONS, initialise, mlp

__all__ = ["ACTIVATIONS", "initialise", "mlp"]
