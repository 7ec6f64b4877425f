"""The yardstick: the same training as a tutorial would write it. Plain, correct, and not slowed down on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class ToTensor:
    """uint8 image (H, W) to float tensor (1, H, W) in [0, 1]."""

    def __call__(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(image)[None].float().div(255)


class Normalize:
    """Subtract the mean and divide by the standard deviation of each channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = mean, std

    def __call__(self, image: Tensor) -> Tensor:
        mean, std = (torch.as_tensor(v).view(-1, 1, 1) for v in (self.mean, self.std))
        return image.sub_(mean).div_(std)


class Images(Dataset):
    """Images with labels, transformed one by one."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, transforms: Sequence[Callable]) -> None:
        self.images, self.labels, self.transforms = images, labels, transforms

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        for transform in self.transforms:
            image = transform(image)
        return image, int(self.labels[index])


class Taylor(nn.Module):
    """Eq. 5 of the paper, order 4: ŷ = softmax, y one-hot, powers, mean over the classes; autograd does the rest."""

    def __init__(self, theta: Sequence[float], factor: float = 1.0) -> None:
        super().__init__()
        self.theta, self.factor = theta, factor

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        t = self.theta
        u = F.softmax(input, dim=1) - t[0]
        v = F.one_hot(target, input.shape[1]).float() - t[1]
        loss = t[2] * u + t[3] * u**2 / 2 + t[4] * u**3 / 6 + t[5] * u**4 / 24
        loss = loss + t[6] * u * v + t[7] * u * v**2 / 2 + t[8] * u**2 * v / 2
        loss = loss + t[9] * u**3 * v / 6 + t[10] * u * v**3 / 6 + t[11] * u**2 * v**2 / 4
        return self.factor * loss.mean(1).mean()


class CNN4(nn.Module):
    """The network `cnn4`, of convolutions as PyTorch has them."""

    def __init__(self, side: int = 28, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(16, 32, 2, stride=2)
        self.fc1 = nn.Linear(32 * (side // 4) ** 2, 64)
        self.fc2 = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def train(
    model: nn.Module, criterion: nn.Module, train_set: Dataset, valid_set: Dataset, epochs: int, lr: float = 0.05
) -> float:
    """Train with SGD (momentum 0.9, batches of 128), evaluate after each epoch, return the last accuracy."""
    train_loader = DataLoader(train_set, batch_size=128, shuffle=True)
    valid_loader = DataLoader(valid_set, batch_size=128)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    accuracy = 0.0
    for _ in range(epochs):
        model.train()
        running_loss = 0.0
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        accuracy = accuracy_on(model, valid_loader)
    return accuracy


def accuracy_on(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    correct = total = 0
    with torch.no_grad():
        for images, labels in loader:
            correct += (model(images).argmax(1) == labels).sum().item()
            total += len(labels)
    return correct / total
