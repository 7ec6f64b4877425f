"""Which loss for my data? One paragraph, from noisy validation labels alone.

    python examples/which_loss.py

Thirty per cent of the labels of scikit-learn's digits are made wrong; nothing is told of that. On files the same is
`arl bench --dataset own.npz`, which also estimates how many labels are wrong.
"""

import torch
from sklearn.datasets import load_digits

import autorobustloss as arl

if __name__ == "__main__":  # workers are separate processes
    images, right = load_digits(return_X_y=True)
    T = arl.transition_matrix("sym:0.3", num_classes=10)
    labels = arl.corrupt(torch.tensor(right), T, torch.Generator().manual_seed(0))

    tasks = arl.make_tasks((images, labels), models="mlp2", epochs=30, evaluate_every=2)
    outcome = arl.bench(["ce", "gce", "arl"], tasks, seeds=3, workers=2)

    print(outcome)  # the tables, and below them the answer
    best = outcome.answers[0].best
    print(f"in numbers: {best.name}, stop after epoch {best.epoch}, {100 * best.mean:.1f} % of noisy labels predicted")
