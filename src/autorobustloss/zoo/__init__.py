"""Learned losses as JSON cards, and those that ship with the library."""
