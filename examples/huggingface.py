"""Train with Hugging Face's Trainer: one argument changes.   python examples/huggingface.py

A small vision transformer on scikit-learn's digits, 40 % of whose training labels are wrong. Its weights are random,
for nothing is downloaded here: in practice `AutoModelForImageClassification.from_pretrained(…)`.
"""

import torch
from sklearn.datasets import load_digits

import autorobustloss as arl

try:
    from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification
except ImportError as error:
    raise SystemExit(f"left out: {error}; pip install 'autorobustloss[huggingface]'") from None

images, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
images = (images.float() / 8 - 1).reshape(-1, 1, 8, 8)
noisy = arl.corrupt(labels[:1200], arl.transition_matrix("sym:0.4", 10), torch.Generator().manual_seed(0))
train = [{"pixel_values": x, "labels": y} for x, y in zip(images[:1200], noisy)]
test = [{"pixel_values": x, "labels": y} for x, y in zip(images[1200:], labels[1200:])]

torch.manual_seed(0)
size = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
model = ViTForImageClassification(ViTConfig(image_size=8, patch_size=2, num_channels=1, num_labels=10, **size))
settings = {"num_train_epochs": 6, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 2}
quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
trainer = Trainer(
    model,
    TrainingArguments(learning_rate=2e-3, **settings, **quiet),
    train_dataset=train,
    eval_dataset=test,
    compute_loss_func=arl.integrations.hf_loss("arl"),  # the line that is new
    compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())},
)
trainer.train()
print(f"accuracy on right labels: {trainer.evaluate()['eval_accuracy']:.2f}")
