"""Comparing methods over tasks: grids, ranks, significance, tables."""
