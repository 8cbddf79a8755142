"""The assignment's models."""
