"""Classification losses that survive noisy labels: learned by evolutionary search, ready to drop in.

>>> import torch, autorobustloss as arl
>>> criterion = arl.create_loss("gce", q=0.7)
>>> criterion(torch.zeros(4, 10), torch.tensor([1, 2, 3, 4])).item() > 0
True

Public names are in `__init__.pyi`, where editors and type checkers find them; each is imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
