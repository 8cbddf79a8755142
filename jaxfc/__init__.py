"""Fully-connected networks in pure JAX."""

__version__ = "0.1.0"
