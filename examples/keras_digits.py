"""Keras 3 on the torch backend: one argument changes.   python examples/keras_digits.py"""

import os

import torch
from sklearn.datasets import load_digits

import autorobustloss as arl

os.environ["KERAS_BACKEND"] = "torch"
try:
    import keras
except ImportError as error:
    raise SystemExit(f"left out: {error}; pip install 'autorobustloss[keras]'") from None

images, labels = load_digits(return_X_y=True)
matrix = arl.transition_matrix("sym:0.4", num_classes=10)
noisy = arl.corrupt(torch.as_tensor(labels[:1200]), matrix, torch.Generator().manual_seed(0)).numpy()

keras.utils.set_random_seed(0)
layers = [keras.layers.Input((64,)), keras.layers.Dense(128, "relu"), keras.layers.Dense(10)]  # logits, no softmax
model = keras.Sequential(layers)
loss = arl.integrations.keras_loss("arl")  # was: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")])
model.fit(images[:1200] / 8 - 1, noisy, epochs=20, batch_size=64, verbose=0)
print(f"accuracy on right labels: {model.evaluate(images[1200:] / 8 - 1, labels[1200:], verbose=0)[1]:.2f}")
