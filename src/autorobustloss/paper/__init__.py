"""The tables and figures of the paper as experiments, beside its printed numbers."""
