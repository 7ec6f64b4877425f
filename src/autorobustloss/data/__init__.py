"""Data sets as tensors in memory, and their seeded splits."""
