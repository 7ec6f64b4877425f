"""A grid search over losses with skorch, whose probabilities are probabilities.   python examples/skorch_search.py"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from torch import nn

import autorobustloss as arl

try:
    from skorch import NeuralNetClassifier
except ImportError as error:
    raise SystemExit(f"left out: {error}; pip install 'autorobustloss[skorch]'") from None


class Network(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


images, labels = load_digits(return_X_y=True)
images, labels = (images / 8 - 1).astype(np.float32), labels.astype(np.int64)
matrix = arl.transition_matrix("sym:0.4", num_classes=10)
noisy = arl.corrupt(torch.as_tensor(labels[:1200]), matrix, torch.Generator().manual_seed(0)).numpy()

torch.manual_seed(0)
settings = {"max_epochs": 30, "lr": 0.05, "optimizer__momentum": 0.9, "train_split": None, "verbose": 0}
network = NeuralNetClassifier(Network, **arl.integrations.skorch_loss("arl"), **settings)
search = GridSearchCV(network, {"criterion__name": ["ce", "gce", "arl"]}, cv=3, scoring="accuracy")
search.fit(images[:1200], noisy)  # scored on noisy labels, which rank losses well enough

found = search.predict_proba(images[1200:])
assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
print(search.cv_results_["mean_test_score"].round(2), search.best_params_)
print(f"accuracy on right labels: {(found.argmax(axis=1) == labels[1200:]).mean():.2f}")
