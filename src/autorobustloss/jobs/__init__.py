"""Training runs as pure functions of frozen specs, stored the moment they finish."""
