"""How fast this library is, in ratios measured side by side on one machine: `python -m benchmarks`."""
