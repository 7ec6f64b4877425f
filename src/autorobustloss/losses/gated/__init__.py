"""The gated loss: its arithmetic, its module, and how it is written out."""
