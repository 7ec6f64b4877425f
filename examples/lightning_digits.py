"""Lightning: one line changes.   python examples/lightning_digits.py"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import autorobustloss as arl

try:
    import lightning
except ImportError as error:
    raise SystemExit(f"left out: {error}; pip install 'autorobustloss[lightning]'") from None


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        self.criterion = arl.create_loss("arl")  # was: nn.CrossEntropyLoss(); none of it is in a checkpoint

    def training_step(self, batch, batch_idx):
        return self.criterion(self.network(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


images, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
images = images.float() / 8 - 1
noisy = arl.corrupt(labels[:1200], arl.transition_matrix("sym:0.4", 10), torch.Generator().manual_seed(0))

torch.manual_seed(0)
quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
model = Classifier()
loader = DataLoader(TensorDataset(images[:1200], noisy), batch_size=32, shuffle=True)
lightning.Trainer(max_epochs=25, accumulate_grad_batches=2, accelerator="cpu", **quiet).fit(model, loader)
print(f"accuracy on right labels: {(model.network(images[1200:]).argmax(1) == labels[1200:]).float().mean():.2f}")
