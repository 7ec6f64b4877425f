"""Take a loss elsewhere: a file that needs one library only.   python examples/export.py

`arl losses export arl --format jax` writes the same on the command line; torch, numpy, keras and latex are the others.
"""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import autorobustloss as arl

kind = "jax" if importlib.util.find_spec("jax") else "numpy"
images, labels = load_digits(return_X_y=True)
model = LogisticRegression(max_iter=1000, C=1e-3).fit(images / 16, labels)
logits = model.decision_function(images / 16).astype(np.float32)

path = Path(tempfile.mkdtemp()) / "learned.py"
path.write_text(arl.export_loss(arl.create_loss("arl"), kind))
spec = importlib.util.spec_from_file_location("learned", path)
learned = importlib.util.module_from_spec(spec)
spec.loader.exec_module(learned)

criterion, state = arl.create_loss("arl"), learned.initial_state(10)  # what arl remembers is passed from batch to batch
for batch in (slice(0, 900), slice(900, None)):
    there, state = learned.loss(logits[batch], labels[batch], state)
    here = float(criterion(torch.from_numpy(logits[batch]), torch.from_numpy(labels[batch])))
    print(f"arl on digits: {float(there):.6f} in {kind}, {here:.6f} in PyTorch")
    assert abs(float(there) - here) < 1e-5
print(f"{len(path.read_text().splitlines())} lines of code")
