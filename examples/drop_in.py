"""One line changes: a plain PyTorch training script under noisy labels, before and after.

    python examples/drop_in.py

Forty per cent of the training labels of scikit-learn's digits are wrong. The script trains the same network twice
and prints the accuracy on clean test data for cross-entropy and for the learned loss.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import autorobustloss as arl


def noisy_digits() -> tuple[torch.Tensor, ...]:
    """Return training images with 40 % wrong labels, and test images with right ones."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 8 - 1, torch.tensor(labels)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    test, train = order[:400], order[400:]
    matrix = arl.transition_matrix("sym:0.4", num_classes=10)
    noisy = arl.corrupt(y[train], matrix, torch.Generator().manual_seed(1))
    return x[train], noisy, x[test], y[test]


def train(criterion: nn.Module) -> float:
    """Train a small network with a loss and return its test accuracy at the end."""
    x, y, x_test, y_test = noisy_digits()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(60):
        for batch in torch.randperm(len(y)).split(64):
            optimizer.zero_grad()
            criterion(model(x[batch]), y[batch]).backward()
            optimizer.step()
    return (model(x_test).argmax(1) == y_test).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    before = train(nn.CrossEntropyLoss())
    after = train(arl.create_loss("arl"))  # the one line that changes
    print(f"cross-entropy {100 * before:.1f} %, learned loss {100 * after:.1f} % on clean test data")
