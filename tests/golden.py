"""Runs with fixed seeds whose weights and figures a change of the code's shape must not change, to the byte.

    python tests/golden.py            compare the code with tests/golden.json
    python tests/golden.py --record   write tests/golden.json anew: only where a change of numbers is meant

Sums in another order end in other bits: bytes are compared where the record was made (the same torch on the same
kind of processor), figures everywhere.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORD = HERE / "golden.json"

COMMON = ["device=cpu", "threads=1", "figures_every=0"]
SYNTHETIC = ["dataset=synthetic", "dataset.synthetic_size=200", "dataset.val_size=30", "dataset.test_size=20"]
GREY = [*SYNTHETIC, "dataset.synthetic_shape=[1,14,12]", "network.hidden=[24,16]", "epochs=3", "latent=3"]
COLOUR = [*SYNTHETIC, "dataset.synthetic_shape=[3,12,10]", "epochs=2"]

RUNS = {
    "ae": ["model=ae", *GREY, "schedule=cosine", "grad_clip=5", "network.decoder_hidden=[20]"],
    "dae-gated-blocks": [
        "model=dae", *GREY, "noise=blocks", "noise.side=3", "network.activation=gated", "likelihood=gaussian",
        "likelihood.learn=true", "likelihood.mean=sigmoid",
    ],
    "vae-logvar-free-bits-warmup": [
        "model=vae", *GREY, "objective.free_bits=0.1", "kl_warmup=2", "kl_weight=2", "model.logvar_clip=[-6,2]",
        "likelihood=continuous_bernoulli", "seed=3",
    ],
    "vae-std-conv": [
        "model=vae", "model.posterior=std", *GREY, "network=conv", "network.channels=[4,6]", "network.blocks=1",
        "network.norm=group", "network.output_conv=true", "dataset.binarize=dynamic",
    ],
    "iwae": [
        "model=iwae", "objective.samples=3", *GREY, "network.init=glorot", "network.output_bias=data_mean",
        "network.activation=tanh", "dataset.binarize=threshold", "schedule=steps", "schedule.after=[1,2]",
    ],
    "dae-unet-blind": [
        "model=dae", *COLOUR, "network=unet", "network.channels=[4,6]", "noise.sigma=0.05", "noise.sigma_max=0.3",
        "likelihood=gaussian", "likelihood.sigma=1",
    ],
    "dae-patches-mixture": [
        "model=dae", "dataset=folder", "dataset.root=pictures", "dataset.fit=patches", "dataset.size=16",
        "dataset.patches=8", "dataset.val_size=2", "dataset.test_size=2", "noise=mixture", "network=conv",
        "network.channels=[4,8]", "network.hidden=[]", "latent=6", "epochs=2", "adam.weight_decay=0.1",
    ],
    "vae-digits-speckle": [
        "model=vae", "dataset=digits", "noise=speckle", "epochs=2", "network.hidden=[32]", "likelihood=gaussian",
        "kl_weight=0.5", "early_stop=2", "batch_size=50",
    ],
}  # fmt: skip
EVALS = {"dae-gated-blocks": ["robustness=true"], "vae-std-conv": ["nll_samples=6"], "iwae": ["nll_samples=6"]}
# What differs each time, and figures that the record is older than.
LEFT_OUT = ("seconds", "images_per_s", "train/mse", "val/mse", "val/psnr", "elbo_bits_per_dim")


def environment() -> dict[str, str]:
    """What the last bits of a sum depend on."""
    import torch

    return {
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "processor": _vendor(),
    }


def _vendor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), platform.processor())


def _pictures(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(10):
        rows, columns = 20 + number, 34 - number
        wave = (
            np.sin(np.arange(rows)[:, None, None] / 4 + rng.uniform(0, 6, 3))
            * np.cos(np.arange(columns) / 5)[:, None]
        )
        Image.fromarray((127 + 100 * wave).astype(np.uint8)).save(folder / f"{number}.png")


def _aectl(folder: Path, *args: str) -> None:
    env = {**os.environ, "AECTL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "aectl", *args], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _compared(values: dict) -> dict:
    kept = {key: value for key, value in values.items() if key not in LEFT_OUT}
    return {key: _compared(value) if isinstance(value, dict) else value for key, value in kept.items()}


def measure(name: str, folder: Path, command: Callable[..., None] = _aectl) -> dict:
    """Train one of `RUNS` in `folder` by `command(folder, *args)`: the hash of its last weights, and its figures."""
    from safetensors.numpy import load_file

    if "dataset.root=pictures" in RUNS[name] and not (folder / "pictures").exists():
        _pictures(folder / "pictures")
    run = folder / name
    command(folder, "train", *COMMON, *RUNS[name], f"hydra.run.dir={name}")
    weights = load_file(max((run / "checkpoints").glob("step-*")) / "model.safetensors")
    digest = hashlib.sha256()
    for tensor in sorted(weights):
        digest.update(tensor.encode() + weights[tensor].tobytes())
    rows = [_compared(json.loads(line)) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = {"weights": digest.hexdigest(), "metrics": rows}
    if name in EVALS:
        command(folder, "eval", f"run={name}", "device=cpu", "threads=1", *EVALS[name], f"hydra.run.dir={name}/eval")
        found["eval"] = _compared(json.loads((run / "eval/metrics.json").read_text()))
    return found


def record() -> dict:
    """All of `RUNS`, and where that was."""
    with tempfile.TemporaryDirectory() as folder:
        return {"environment": environment(), "runs": {name: measure(name, Path(folder)) for name in RUNS}}


if __name__ == "__main__":
    now = record()
    if "--record" in sys.argv:
        RECORD.write_text(json.dumps(now, indent=1) + "\n")
    else:
        then = json.loads(RECORD.read_text())
        print("environment:", "the same" if then["environment"] == now["environment"] else "another")
        for name, found in now["runs"].items():
            print(name, "the same" if found == then["runs"][name] else "DIFFERENT")
