"""Which of my labels are wrong? A ranked list, from arrays in memory.

    python examples/find_wrong_labels.py

One label in ten of scikit-learn's digits is made wrong, so that it can be checked what is found. Needs cleanlab:
pip install 'autorobustloss[labels]'. On files the same is `arl labels --dataset own.npz`.
"""

import numpy as np
from sklearn.datasets import load_digits

import autorobustloss as arl

if __name__ == "__main__":  # workers are separate processes
    images, right = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    wrong = rng.random(len(right)) < 0.1
    labels = np.where(wrong, (right + rng.integers(1, 10, len(right))) % 10, right)

    found = arl.find_label_errors((images, labels), loss="arl", workers=2)

    print(found)
    precision, recall = wrong[found.wrong].mean(), found.wrong[wrong].mean()
    print(f"{precision:.0%} of these are wrong, {recall:.0%} of the wrong ones are found")
    print("estimated T[0, :], the labels that zeros get:", found.noise_matrix[0].round(3))
