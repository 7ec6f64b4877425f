"""Networks for any input shape and number of classes."""
