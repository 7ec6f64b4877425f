"""The Taylor loss: its parameters, its arithmetic, its module, and how it is written out."""
