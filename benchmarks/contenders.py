"""The lecture's VAE, 784-300-300-2, in five programs; one process each, called by speed.py.

    python benchmarks/contenders.py <name> <images.npy> <batch size>

prints one line of JSON: steps per second over an epoch. The images are uint8, (N, 784). Model, Adam's settings and
batch size are the same everywhere; the objective is binary cross-entropy and KL, in each program's own scale. What
comes before the first step is in nobody's time, and the first 50 steps are not either where the program lets us see
them.
"""

import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import aectl.data.datasets._torchvision

WARM = 50  # steps before the clock starts
PIXELS, HIDDEN, LATENT, LR = 784, 300, 2, 1e-3

Measured = dict[str, float]


def encoder() -> nn.Sequential:
    """784-300-300-4: μ and log σ²."""
    return nn.Sequential(
        nn.Linear(PIXELS, HIDDEN), nn.LeakyReLU(), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(),
        nn.Linear(HIDDEN, 2 * LATENT),
    )  # fmt: skip


def decoder() -> nn.Sequential:
    """2-300-300-784, logits."""
    return nn.Sequential(
        nn.Linear(LATENT, HIDDEN), nn.LeakyReLU(), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(),
        nn.Linear(HIDDEN, PIXELS),
    )  # fmt: skip


class Plain(nn.Module):
    """The VAE as one would write it down."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder(), decoder()

    def loss(self, x: Tensor) -> Tensor:
        """The negative ELBO of x, (B, 784), nats per image."""
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
        recon = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = 0.5 * (logvar.exp() + mu.square() - 1 - logvar).sum()
        return (recon + kl) / len(x)


class Clock:
    """Steps per second from the end of step `WARM` on."""

    def __init__(self) -> None:
        self.steps = 0
        self.began = self.ended = 0.0

    def tick(self, *_: Any) -> None:
        """A step has ended."""
        self.steps += 1
        self.ended = time.perf_counter()
        if self.steps == WARM:
            self.began = self.ended

    def measured(self) -> Measured:
        """What the program prints."""
        return {"steps_per_s": (self.steps - WARM) / (self.ended - self.began)}


def bare(images: np.ndarray, batch: int) -> Measured:
    """A loop by hand: uint8 in memory, fused Adam, nothing logged, nothing checked, nothing saved."""
    data, model, clock = torch.from_numpy(images), Plain(), Clock()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    order = torch.randperm(len(data))
    for start in range(0, len(data), batch):
        x = data[order[start : start + batch]].float().div_(255)
        optimizer.zero_grad()
        model.loss(x).backward()
        optimizer.step()
        clock.tick()
    return clock.measured()


def notebook(images: np.ndarray, batch: int) -> Measured:
    """What courses print: a torchvision-style data set with ToTensor, a DataLoader, Adam, loss.item() each step."""
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms import ToTensor

    class Digits(Dataset):
        """As torchvision.datasets.MNIST: a PIL image of each row, then the transform."""

        data, transform = torch.from_numpy(images).view(-1, 28, 28), ToTensor()

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return self.transform(Image.fromarray(self.data[index].numpy())), 0

    model, clock, total = Plain(), Clock(), 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    for x, _ in DataLoader(Digits(), batch_size=batch, shuffle=True):
        loss = model.loss(x.view(len(x), -1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
        clock.tick()
    return clock.measured()


def pythae(images: np.ndarray, batch: int) -> Measured:
    """The VAE and BaseTrainer of pythae, on floats in memory as it takes them."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = encoder()

        def forward(self, x: Tensor) -> ModelOutput:
            mu, logvar = self.layers(x.flatten(1)).chunk(2, dim=1)
            return ModelOutput(embedding=mu, log_covariance=logvar)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = decoder()

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.layers(z).sigmoid().view(-1, 1, 28, 28))

    class Watch(TrainingCallback):
        def on_train_step_end(self, training_config: Any, **_: Any) -> None:
            clock.tick()

    clock = Clock()
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
    x = torch.from_numpy(images).float().div_(255).view(-1, 1, 28, 28)
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder, per_device_train_batch_size=batch, num_epochs=1, learning_rate=LR
        )
        trainer = BaseTrainer(
            VAE(config, Encoder(), Decoder()), BaseDataset(x, torch.zeros(len(x))), None, settings, [Watch()]
        )
        trainer.train()
    return clock.measured()


def lightning(images: np.ndarray, batch: int) -> Measured:
    """PyTorch Lightning's Trainer with its own logger, progress and checkpoint, on floats in memory."""
    import lightning as pl
    from torch.utils.data import DataLoader, TensorDataset

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Plain()

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            loss = self.model.loss(batch[0])
            self.log("train/loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=LR)

    class Watch(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            clock.tick()

    clock = Clock()
    loader = DataLoader(TensorDataset(torch.from_numpy(images).float().div_(255)), batch_size=batch, shuffle=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=1, accelerator="cpu", default_root_dir=folder, callbacks=[Watch()],
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Module(), loader)
    return clock.measured()


class Epochs(logging.Handler):
    """When aectl says that an epoch has ended: after its validation, curves and pictures, before its checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note the time."""
        if record.getMessage().startswith("epoch "):
            self.ends.append(time.perf_counter())


def aectl(images: np.ndarray, batch: int, precision: str = "float32") -> Measured:
    """Aectl's own `train`, all as by default, on an array in a file; epochs 2 to 6 of 6.

    `steps_per_s` is of an epoch's steps, as for the others; `with_epoch_end` has in its time also what the others
    do not make: validation of 2,500 images, curves, checkpoints, and pictures every five epochs.
    """
    from aectl.cli.composing import composed
    from aectl.runs.layout import read_metrics
    from aectl.training import loop

    epochs, log = Epochs(), logging.getLogger("aectl.training.journal")
    log.setLevel(logging.INFO)
    log.addHandler(epochs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "images.npy", images.reshape(-1, 28, 28))
        config = composed(
            "train", "model=vae", "dataset=array", f"dataset.root={folder}/images.npy", "dataset.val_size=2500",
            "dataset.test_size=10", f"latent={LATENT}", f"batch_size={batch}", "epochs=6", f"lr={LR}",
            f"precision={precision}",
        )  # fmt: skip
        loop.train(config, folder / "run")
        first, *others = read_metrics(folder / "run")
    seconds = epochs.ends[-1] - epochs.ends[0]
    return {
        "steps_per_s": statistics.harmonic_mean([record["images_per_s"] for record in others]) / batch,
        "with_epoch_end": (others[-1]["step"] - first["step"]) / seconds,
    }


def aectl_bf16(images: np.ndarray, batch: int) -> Measured:
    """The same with `precision=bf16`."""
    return aectl(images, batch, "bf16")


CONTENDERS: dict[str, Callable[[np.ndarray, int], Measured]] = {
    each.__name__: each for each in (aectl, aectl_bf16, bare, notebook, pythae, lightning)
}

if __name__ == "__main__":
    name, path, batch_size = sys.argv[1:]
    torch.manual_seed(0)
    print(json.dumps(CONTENDERS[name](np.load(path), int(batch_size))))
