"""Where a step's time goes: parts of the lecture's VAE, in turn in one process; called by speed.py.

    python benchmarks/step.py <images.npy> <batch size> <rounds>

prints one line of JSON: microseconds a step, the median over the rounds. Each part makes 100 steps a round.
"""

import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from contenders import HIDDEN, LATENT, LR, PIXELS, Plain
from torch import Tensor

from aectl.cli.composing import composed
from aectl.machine import devices
from aectl.rng import generator
from aectl.runs.schedules import kl_weight_at, lr_at
from aectl.training import session
from aectl.training.feeding import feed
from aectl.training.step import stepping

STEPS = 100
LAYERS = (
    (PIXELS, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, PIXELS),
)  # fmt: skip

Step = Callable[[], object]


def products(batch: int) -> Step:
    """The matrix products of a step alone: of each layer its value, its weights' gradient, and its input's."""
    sizes = [(torch.randn(batch, i), torch.randn(o, i), torch.randn(batch, o)) for i, o in LAYERS]

    def step() -> None:
        for index, (x, weight, gradient) in enumerate(sizes):
            torch.mm(x, weight.t())
            torch.mm(gradient.t(), x)
            if index:  # nobody asks for the gradient of the images
                torch.mm(gradient, weight)

    return step


def bare(images: Tensor, batch: int) -> tuple[Step, Step]:
    """The loop by hand, and its optimizer alone."""
    model = Plain()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)

    def batches() -> Iterator[Tensor]:
        while True:
            order = torch.randperm(len(images))
            for start in range(0, len(order) - batch, batch):
                yield images[order[start : start + batch]].float().div_(255)

    coming = batches()

    def step() -> None:
        optimizer.zero_grad()
        model.loss(next(coming)).backward()
        optimizer.step()

    return step, optimizer.step


def aectl(path: Path, batch: int, **changes: str) -> Step:
    """The lines of aectl's loop that are in every step."""
    config = composed(
        "train", "model=vae", "dataset=array", f"dataset.root={path}", "dataset.val_size=10", "dataset.test_size=10",
        f"latent={LATENT}", f"batch_size={batch}", f"lr={LR}", *(f"{key}={value}" for key, value in changes.items()),
    )  # fmt: skip
    run = session.prepare(config, path.parent / "run", None)
    rng_of = functools.partial(generator, run.device, "step")
    step = stepping(run.parallel, run.loss, run.adam, run.config)

    def steps() -> Iterator[None]:
        while True:
            order = torch.randperm(len(run.data.train))
            for (x, seen), rng in feed(run.data.train, order, batch, run.device, rng_of):
                eps, share = run.model.draw(len(x), rng), run.world.share(len(x), run.device)
                parts = share.of(x, run.config.noise(seen, rng), eps)
                beta, lr = kl_weight_at(0, run.steps_per_epoch, config), lr_at(0, run.steps_per_epoch, config)
                run.running.add(step(*parts, share.weight, beta, lr), share.count)
                yield

    return functools.partial(next, steps())


def main() -> None:
    """Measure and print."""
    path, batch, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(0)
    images = np.load(path)
    with tempfile.TemporaryDirectory() as name:
        array = Path(name) / "images.npy"
        np.save(array, images.reshape(-1, 28, 28))
        whole, optimizer = bare(torch.from_numpy(images), batch)
        parts = {
            "matrix products alone": products(batch),
            "Adam alone": optimizer,
            "bare loop": whole,
            "aectl": aectl(array, batch),
            "aectl, execution=compile": aectl(array, batch, execution="compile"),
        }
        if devices.bf16_instructions():
            parts["aectl, precision=bf16"] = aectl(array, batch, precision="bf16")
        whole()  # gradients for Adam
        found: dict[str, list[float]] = {name: [] for name in parts}
        for current in range(rounds + 1):
            for name, step in parts.items():
                began = time.perf_counter()
                for _ in range(STEPS):
                    step()
                if current:  # the first round warms up, and compiles
                    found[name].append((time.perf_counter() - began) / STEPS * 1e6)
    print(json.dumps({name: statistics.median(values) for name, values in found.items()}))


if __name__ == "__main__":
    main()
