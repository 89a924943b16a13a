"""Likelihood and information."""
