"""Training one network: the frozen protocol and the loop."""
