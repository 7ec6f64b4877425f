"""The command line, arl."""
