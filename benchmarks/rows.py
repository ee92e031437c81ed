"""The rows of docs/results.md: what each reproduces, from where, how a figure is read, and what is accepted."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Result = dict[str, Any]

ENOUGH = 3  # seeds without which nothing is said to be reproduced


@dataclass(frozen=True)
class Figure:
    """A number of a row.

    Attributes:
        name: what it is, with its unit.
        published: as the source prints it.
        accept: the least and the most that the mean over seeds may be; None where there is no bound.
        value: reads it from a run's result.json and its evaluation's metrics.json.
        digits: behind the point.
    """

    name: str
    published: str
    accept: tuple[float | None, float | None]
    value: Callable[[Result, Result], float]
    digits: int = 2


@dataclass(frozen=True)
class Row:
    """A preset of configs/experiment/published/, and what is to be said of it.

    Attributes:
        source: who printed the published figures.
        figures: read from each seed's run.
        changed: what is not as in the source; with such a change a row is our own, and reproduces nothing.
        shortened: what is as in the source but for the length of its schedule.
        chosen: how the settings were chosen that the source does not give.
        remark: what else is to be known.
        measure: arguments of `aectl eval`; None where the run itself says all.
        packed: whether its test images are made a file of bits.
        all_digits: whether it trains on the 60,000 and the 10,000 digits together.
    """

    number: int
    title: str
    preset: str
    source: str
    figures: tuple[Figure, ...]
    changed: str = ""
    shortened: str = ""
    chosen: str = ""
    remark: str = ""
    measure: tuple[str, ...] | None = None
    packed: bool = False
    all_digits: bool = False


def mean_and_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean over seeds and the standard deviation with n − 1; None for one seed, which has none."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def inside(figure: Figure, value: float) -> bool:
    """Whether a mean is accepted."""
    low, high = figure.accept
    return (low is None or value >= low) and (high is None or value <= high)


def verdict(row: Row, figure: Figure, values: Sequence[float]) -> str:
    """`reproduced` or `ours`, each only with enough seeds; `missed`; or `open`, with what stands so far.

    A row of our own is never more than `ours`, however good it is.
    """
    accepted = inside(figure, mean_and_sd(values)[0])
    if len(values) < ENOUGH:
        return f"open: {len(values)} of {ENOUGH} seeds, so far {'inside' if accepted else 'outside'}"
    if row.changed:
        return "ours" if accepted else "ours, missed"
    return "reproduced" if accepted else "missed"


def _metric(name: str) -> Callable[[Result, Result], float]:
    return lambda result, metrics: metrics[name]


LAST = ("checkpoint=last",)
NLL = ("nll_samples=5000",)
# The course normalises pixels by MNIST's standard deviation 0.3081: squared errors grow by 1/0.3081² = 10.53.
NORMALISED = 10.53
LECTURE = (
    Figure("BCE per pixel", "0.18–0.23", (0.18, 0.23), lambda result, metrics: result["train/recon"] / 784, 4),
    Figure("KL", "3.6–4.4", (3.6, 4.4), lambda result, metrics: result["train/kl"]),
)


def squared_error(result: Result, metrics: Result) -> float:
    """The normalised pixels' mean squared error from −log N at σ = 1, which is ½·SSE + 784·½·log 2π."""
    return NORMALISED * 2 * (result["train/recon"] / 784 - 0.9189385)


def _nll(published: str, low: float | None, high: float) -> tuple[Figure]:
    return (Figure("NLL₅₀₀₀", published, (low, high), _metric("nll")),)


def _file(published: str, accepted: float) -> tuple[Figure, Figure]:
    return (
        Figure("bits per dimension of the file", published, (None, accepted), _metric("file_bits_per_dim"), 4),
        Figure("file over ELBO", "–", (None, 1.01),
               lambda result, metrics: metrics["file_bits_per_dim"] / metrics["elbo_bits_per_dim"], 4),
    )  # fmt: skip


ROWS = [
    Row(1, "deep AE, MNIST", "row1_deep_ae", "Hinton & Salakhutdinov, Science 2006",
        (Figure("SSE", "3.00", (None, 3.00), _metric("sse")),),
        changed="The paper's units are logistic, pretrained layer by layer as restricted Boltzmann machines, and "
        "fine-tuned by conjugate gradients; here nothing is pretrained.",
        chosen="Three set-ups, named beforehand, of 8 epochs on 50,000 images, by their squared error on 10,000 "
        "validation images (seed 0): LeakyReLU at 1e-3 4.61; ELU at 2e-3 3.603, which was taken; ELU at 2e-3 with a "
        "weight decay of 0.1 3.605. The 24 epochs were set beforehand by time. Version 0.1.0 had chosen its set-up "
        "by test figures.",
        measure=LAST),
    Row(2, "pytorch/examples VAE, MNIST", "row2_pytorch_example_vae",
        "a third party's README of a copy of that example, kampta/pytorch-distributions: 105.589; the example's own "
        "README gives no figure",
        (Figure("grey BCE + KL", "105.6", (104.9, 106.3), _metric("loss")),), measure=LAST),
    Row(3, "2-D convolutional VAE, MNIST", "row3_keras_conv_vae",
        "keras-io, examples/generative/vae: the output of its last epoch",
        (Figure("grey BCE + KL, training average", "146.95", (145.45, 148.45),
                lambda result, metrics: result["train/loss"]),),
        remark="Keras pads an even side below and to the right, PyTorch above and to the left: the same network for "
        "images turned by 180°. Start, Adam's eps of 1e-7 and the number of parameters are Keras'.",
        all_digits=True),
    Row(4, "VAE, dynamic MNIST", "row4_vae_dynamic_mnist",
        "Norouzi et al., NeurIPS 2020, for the network of Tomczak & Welling, AISTATS 2018",
        _nll("84.45 ± 0.12", 83.95, 84.95),
        shortened="There a constant learning rate for up to 2,000 epochs, stopped by validation; here at most 380, "
        "with three steps down.",
        measure=NLL),
    Row(5, "VAE, dynamic Fashion-MNIST", "row5_vae_dynamic_fashion", "Norouzi et al., NeurIPS 2020",
        _nll("228.70 ± 0.15", 228.20, 229.20), shortened="As in row 4.", measure=NLL),
    Row(6, "one-layer VAE, dynamic MNIST", "row6_iwae_paper_vae", "Burda et al., ICLR 2016, Table 1",
        _nll("86.76", None, 88.3),
        changed="There 3,280 epochs in batches of 20 with eight steps down of the learning rate from 1e-3; here 450 "
        "in batches of 100, from 2e-3 along a cosine to zero. Accepted is what 40 CPU minutes should reach.",
        measure=(*LAST, *NLL)),
    Row(7, "the lecture's AE", "row7_lecture_ae", "the course's exercise 1",
        (Figure("MSE on normalised pixels", "0.38–0.48", (0.38, 0.48), squared_error, 4),)),
    Row(8, "the lecture's VAE, std", "row8_lecture_vae_std", "the course's exercise 2", LECTURE),
    Row(8, "the lecture's VAE, logvar", "row8_lecture_vae_logvar", "the course's exercise 2", LECTURE),
    Row(9, "DAE, Gaussian σ = 0.5, MNIST", "row9_dae_gaussian",
        "no source: the best linear denoiser is at 17.72, a 3×3 median at 14.18, the noisy images at 9.38, all "
        "computed from the same images",
        (Figure("PSNR, dB", "–", (20.2, None), _metric("psnr_denoised")),),
        changed="There is no published set-up: any network here, at most 15 CPU minutes of training in one thread.",
        chosen="By time alone, without a run: one residual block a level and 2 epochs instead of the two blocks and "
        "10 epochs of version 0.1.0, which took 26 minutes by the clock, and float32, which is the faster here. The "
        "batches and the learning rate are that version's; what chose them was not recorded.",
        measure=()),
    Row(10, "lossless file of binary MNIST", "row10_lossless_binary_mnist",
        "Townsend, Bird & Barber, ICLR 2019, from memory; a public rerun of it prints 0.194",
        _file("0.19", 0.175),
        changed="Another network and prior: that of row 4 with a mixture of 500 Gaussians, where the paper has one "
        "layer of 100 units and N(0, I). Accepted is what row 4's ELBO would give, 0.163, and a little more.",
        chosen="Of two, each trained once, by their −ELBO on validation images: these dense layers 86.44 nats, 28 "
        "epochs of row 11's convolutions with the same prior 89.60.",
        remark="One file of all 10,000 test images, dynamically binarized by one draw, with its header and first "
        "bits, decoded in another process and compared to the last bit. Names are in it, labels are not "
        "(labels=false).",
        measure=(), packed=True),
    Row(11, "lossless file of grey MNIST", "row11_lossless_grey_mnist",
        "Townsend, Bird & Barber, ICLR 2019, as Brian Keng's article quotes it; lzma makes 1.38 of one stream",
        _file("1.41", 1.39),
        changed="Convolutions instead of dense layers, and a mixture of three logistics instead of a beta-binomial.",
        chosen="By the −ELBO on validation images after one epoch: dense layers of row 10 with one logistic 985 "
        "nats, with three 945, these convolutions with three 797.",
        remark="As row 10, of the grey images.",
        measure=(), packed=True),
    Row(12, "VampPrior of 500, dynamic MNIST", "row12_vamp_dynamic_mnist",
        "Norouzi et al., NeurIPS 2020, for the model of Tomczak & Welling, AISTATS 2018",
        _nll("82.43 ± 0.06", None, 83.6),
        shortened="There a constant learning rate for up to 2,000 epochs and a warm-up of 100; here 120 with three "
        "steps down, and a warm-up of 30.",
        changed="The pseudo-inputs start from N(0.05, 0.01²) instead of N(−0.05, 0.01²), where clamping to [0, 1] "
        "passes no gradient.",
        measure=NLL),
]  # fmt: skip
