"""The lecture's VAE, 784-300-300-2, in five programs; a process each, which training.py starts and tells to go on.

    python benchmarks/contenders.py <name> <images.npy> <batch size>

says `{}` after its first step and waits. For each line on its standard input, so many seconds, it trains for so long
and answers with a line of JSON: steps per second, and the share of the time that went into the ends of epochs. It
leaves when its input ends. The images are uint8, (N, 784). Model, Adam's settings, batch size and number of threads
are the same everywhere; the objective is binary cross-entropy and KL, in each program's own scale.
"""

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import aectl.data.datasets._torchvision

EPOCHS = 10**6  # nobody gets so far
PIXELS, HIDDEN, LATENT, LR = 784, 300, 2, 1e-3


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
    """Counts a program's steps and their time, and holds it between the rounds, in the middle of its work.

    What is between `stop` and `go` is an epoch's end, and has a time of its own.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.seconds = 0.0  # that this round is to last; the first step is the start's
        self.ends = 0.0
        self.began = self.stopped = time.perf_counter()

    def tick(self, *_: Any) -> None:
        """A step has ended; where the round has too, answer, and wait for the next."""
        self.steps += 1
        elapsed = time.perf_counter() - self.began - self.ends
        if elapsed < self.seconds:
            return
        rate = {"steps_per_s": self.steps / elapsed, "ends": self.ends / (elapsed + self.ends)}
        print(json.dumps(rate if self.seconds else {}), flush=True)
        if not (line := sys.stdin.readline()):
            sys.exit()
        self.steps, self.seconds, self.ends, self.began = 0, float(line), 0.0, time.perf_counter()

    def stop(self) -> None:
        """An epoch's steps are made."""
        self.stopped = time.perf_counter()

    def go(self) -> None:
        """The next epoch's begin."""
        self.ends += time.perf_counter() - self.stopped


def bare(images: np.ndarray, batch: int, clock: Clock) -> None:
    """A loop by hand: uint8 in memory, fused Adam, nothing logged, nothing checked, nothing saved."""
    data, model = torch.from_numpy(images), Plain()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    while True:
        order = torch.randperm(len(data))
        for start in range(0, len(data), batch):
            x = data[order[start : start + batch]].float().div_(255)
            optimizer.zero_grad()
            model.loss(x).backward()
            optimizer.step()
            clock.tick()


def notebook(images: np.ndarray, batch: int, clock: Clock) -> None:
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

    model, total = Plain(), 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    loader = DataLoader(Digits(), batch_size=batch, shuffle=True)
    for x, _ in itertools.chain.from_iterable(itertools.repeat(loader)):
        loss = model.loss(x.view(len(x), -1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
        clock.tick()


def pythae(images: np.ndarray, batch: int, clock: Clock) -> None:
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

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
    x = torch.from_numpy(images).float().div_(255).view(-1, 1, 28, 28)
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder, per_device_train_batch_size=batch, num_epochs=EPOCHS, learning_rate=LR
        )
        trainer = BaseTrainer(
            VAE(config, Encoder(), Decoder()), BaseDataset(x, torch.zeros(len(x))), None, settings, [Watch()]
        )
        trainer.train()


def lightning(images: np.ndarray, batch: int, clock: Clock) -> None:
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

    loader = DataLoader(TensorDataset(torch.from_numpy(images).float().div_(255)), batch_size=batch, shuffle=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=EPOCHS, accelerator="cpu", default_root_dir=folder, callbacks=[Watch()],
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Module(), loader)


def aectl(images: np.ndarray, batch: int, clock: Clock, precision: str = "float32") -> None:
    """Aectl's own `train`, all as by default but the threads, which are torch's, on an array in a file.

    Its steps are counted where it asks for the next batch. An epoch's end has what the others do not make: validation
    of 2,500 images, curves, checkpoints, and pictures every five epochs.
    """
    from aectl.cli.composing import composed
    from aectl.training import loop

    rest_of_epoch = loop.rest_of_epoch

    def counted(*given: Any) -> Iterator[Any]:
        clock.go()
        for batch in rest_of_epoch(*given):
            yield batch
            clock.tick()
        clock.stop()

    loop.rest_of_epoch = counted
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "images.npy", images.reshape(-1, 28, 28))
        config = composed(
            "train", "model=vae", "dataset=array", f"dataset.root={folder}/images.npy", "dataset.val_size=2500",
            "dataset.test_size=10", f"latent={LATENT}", f"batch_size={batch}", f"epochs={EPOCHS}", f"lr={LR}",
            f"precision={precision}", f"threads={torch.get_num_threads()}",
        )  # fmt: skip
        loop.train(config, folder / "run")


def aectl_bf16(images: np.ndarray, batch: int, clock: Clock) -> None:
    """The same with `precision=bf16`."""
    aectl(images, batch, clock, "bf16")


CONTENDERS: dict[str, Callable[[np.ndarray, int, Clock], None]] = {
    each.__name__: each for each in (aectl, aectl_bf16, bare, notebook, pythae, lightning)
}

if __name__ == "__main__":
    name, path, batch_size = sys.argv[1:]
    torch.manual_seed(0)
    CONTENDERS[name](np.load(path), int(batch_size), Clock())
