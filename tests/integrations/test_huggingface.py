"""`hf_loss` in Hugging Face's Trainer, with tiny models of random weights: nothing is downloaded."""

import pytest
import torch
import torch.nn.functional as F

from autorobustloss import MultiLabel, create_loss
from autorobustloss.errors import ConfigError, LossInputError
from autorobustloss.integrations import hf_loss

LABELS = torch.tensor([[0, 1, -100, 2], [3, -100, -100, 1]])


class CausalLMOutputOfSomeModel(dict):
    """Named as those of Transformers' causal language models are."""


def logits(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class TestLayout:
    def test_a_label_for_each_text(self):
        z, y = logits(6, 5), torch.tensor([0, 1, 2, 3, 4, 0])
        for outputs in ({"logits": z}, (z, "hidden"), z):
            torch.testing.assert_close(hf_loss("gce")(outputs, y), create_loss("gce")(z, y))
        target = z.softmax(1)
        torch.testing.assert_close(hf_loss("gce")(z, target), create_loss("gce")(z, target))

    def test_a_label_for_each_token(self):
        z = logits(2, 4, 5)
        wanted = create_loss("gce")(z.movedim(2, 1), LABELS)
        torch.testing.assert_close(hf_loss("gce")({"logits": z}, LABELS), wanted)
        torch.testing.assert_close(hf_loss("gce", shift=False)(CausalLMOutputOfSomeModel(logits=z), LABELS), wanted)

    def test_the_next_token(self):
        z = logits(2, 4, 5)
        wanted = F.cross_entropy(z[:, :-1].reshape(-1, 5), LABELS[:, 1:].reshape(-1))
        for loss, outputs in ((hf_loss("ce"), CausalLMOutputOfSomeModel(logits=z)), (hf_loss("ce", shift=True), z)):
            torch.testing.assert_close(loss(outputs, LABELS), wanted)

    def test_several_labels_a_text(self):
        z, y = logits(6, 5), (logits(6, 5) > 0).float()
        wanted = F.binary_cross_entropy_with_logits(z, y)
        torch.testing.assert_close(hf_loss(MultiLabel("ce"))({"logits": z}, y), wanted)
        with pytest.raises(LossInputError, match="MultiLabel"):
            hf_loss("ce")({"logits": z}, y)

    def test_what_cannot_be_meant(self):
        z = logits(6, 5)
        for bad in ({"loss": z}, (), "text", {"logits": None}):
            with pytest.raises(LossInputError, match="without logits"):
                hf_loss("gce")(bad, LABELS)
        with pytest.raises(LossInputError, match="got no labels"):
            hf_loss("gce")(z, None)
        with pytest.raises(LossInputError, match="expected \\(6,\\)"):
            hf_loss("gce")(z, LABELS)
        for given in ({"ignore_index": 0}, {"reduction": "sum"}):
            with pytest.raises(ConfigError, match="the Trainer counts"):
                hf_loss("gce", **given)
        with pytest.raises(ConfigError, match="expected the name"):
            hf_loss(create_loss("gce"), q=0.5)


transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
BERT = {**SMALL, "vocab_size": 20, "max_position_embeddings": 8, "num_labels": 4, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0}  # fmt: skip


def bert(kind):
    return getattr(transformers, f"BertFor{kind}Classification")(transformers.BertConfig(**BERT))


def gpt():
    config = {"vocab_size": 20, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_inner": 32}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**config, **dropout))


TASKS = {
    "sequence": lambda: (bert("Sequence"), lambda x: x[:, 0] % 4),
    "token": lambda: (bert("Token"), lambda x: torch.where(x % 3 == 0, -100, x % 4)),
    "causal": lambda: (gpt(), lambda x: torch.where(x % 5 == 0, -100, x)),
}


def gradient(task, loss, accumulation, folder):
    """Return the gradient of the first step of a Trainer: eight samples, in one batch or in parts."""
    torch.manual_seed(0)
    model, label = TASKS[task]()
    words = torch.randint(1, 20, (8, 8), generator=torch.Generator().manual_seed(1))
    data = [{"input_ids": x, "labels": y} for x, y in zip(words, label(words))]
    found = {}

    class Watched(transformers.Trainer):
        def create_optimizer(self, *arguments, **more):
            optimizer = super().create_optimizer(*arguments, **more)
            optimizer.register_step_pre_hook(
                lambda *_: found.update({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
            )
            return optimizer

    arguments = transformers.TrainingArguments(
        str(folder), max_steps=1, per_device_train_batch_size=8 // accumulation, max_grad_norm=0.0, use_cpu=True,
        gradient_accumulation_steps=accumulation, report_to="none", save_strategy="no", disable_tqdm=True,
        logging_strategy="no",
    )  # fmt: skip
    Watched(model, arguments, train_dataset=data, compute_loss_func=loss).train()
    return found


@pytest.mark.parametrize("task", TASKS)
def test_equal_gradients_at_every_accumulation(task, tmp_path):
    whole = gradient(task, hf_loss("gce"), 1, tmp_path)
    assert sum(g.abs().sum() for g in whole.values()) > 0
    for accumulation in (2, 4):
        torch.testing.assert_close(gradient(task, hf_loss("gce"), accumulation, tmp_path), whole, rtol=1e-4, atol=1e-7)


def test_a_causal_model_learns_the_next_token(tmp_path):
    """Against the model's own loss, which shifts."""
    model, label = TASKS["causal"]()
    words = torch.randint(1, 20, (8, 8), generator=torch.Generator().manual_seed(1))
    outputs = model(words, labels=label(words))
    torch.testing.assert_close(hf_loss("ce")(outputs, label(words)), outputs.loss)
    model, label = TASKS["token"]()
    outputs = model(words, labels=label(words))
    torch.testing.assert_close(hf_loss("ce")(outputs, label(words)), outputs.loss)


def test_evaluation_leaves_a_memory_alone(tmp_path):
    loss = hf_loss("gated")
    gradient("sequence", loss, 2, tmp_path)
    before = {name: value.clone() for name, value in loss.loss.named_buffers()}
    assert loss.loss.state.labels.sum() == 8
    model, label = TASKS["sequence"]()
    words = torch.randint(1, 20, (4, 8))
    data = [{"input_ids": x, "labels": y} for x, y in zip(words, label(words))]
    arguments = transformers.TrainingArguments(str(tmp_path), report_to="none", disable_tqdm=True, use_cpu=True)
    metrics = transformers.Trainer(model, arguments, eval_dataset=data, compute_loss_func=loss).evaluate()
    assert metrics["eval_loss"] > 0
    for name, value in loss.loss.named_buffers():
        assert torch.equal(value, before[name])
