"""Losses of the literature, one file per family."""
