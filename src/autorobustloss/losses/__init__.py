"""Robust classification losses with the arguments of torch.nn.CrossEntropyLoss."""
