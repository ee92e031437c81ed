"""Every sentence of a report, on tables made by hand: three seeds m − d, m, m + d have the mean m and the sd d."""

import pytest

from aectl.measuring.comparison import Measured, grouped
from aectl.measuring.findings import findings

NAN = float("nan")


def runs(settings: str, figures: dict[str, list[float]], *, data="", likelihood=""):
    """A run for each seed; settings such as `latent=8 model=vae`; a figure has one value for each seed."""
    given = dict(item.split("=", 1) for item in settings.split())
    values = {"latent": float(given.get("latent", 2)), "kl_weight": float(given.get("kl_weight", 1)), "lr": 1e-3}
    return [
        Measured(
            f"{settings} {seed}", {**given, "seed": str(seed)}, values,
            {name: value[seed] for name, value in figures.items()}, seed, data, likelihood,
        )
        for seed in range(len(next(iter(figures.values()))))
    ]  # fmt: skip


def around(mean: float, sd: float) -> list[float]:
    return [mean - sd, mean, mean + sd]


def along(axis: str, figure: str, values: dict[float, list[float]], *, prior: bool = False, **more) -> list[Measured]:
    """A series: the figure's values over seeds at each value of `axis`; `more` figures are lists beside them."""
    return [
        run
        for number, (at, seeds) in enumerate(values.items())
        for run in runs(
            f"{axis}={at} model={'vae' if prior else 'ae'}",
            {figure: seeds, **{name: [column[number]] * len(seeds) for name, column in more.items()}},
        )
    ]


def said(made: list[Measured]) -> list[str]:
    return findings(grouped(made))


ONE_SEED = "There is one seed of each, and no spread: any difference may be chance."

TRENDS = [
    (  # at every step
        {2: around(30, 0.5), 4: around(20, 0.5), 8: around(10, 0.5)},
        "The squared error per image falls at every step, from 30.00 ± 0.50 with 2 latents to 10.00 ± 0.50 with 8 "
        "latents.",
    ),
    (  # one step
        {1: around(10, 0.5), 2: around(12, 0.5)},
        "The squared error per image rises from 10.00 ± 0.50 with 1 latent to 12.00 ± 0.50 with 2 latents.",
    ),
    (  # the least in the middle
        {2: around(37.65, 0.1), 8: around(24.48, 0.1), 64: around(25.85, 0.1)},
        "The squared error per image is least with 8 latents (24.48 ± 0.10) and greatest with 2 latents "
        "(37.65 ± 0.10).",
    ),
    (  # the greatest in the middle, the least on both sides
        {2: around(10, 0.5), 4: around(20, 0.5), 8: around(10.5, 0.5)},
        "The squared error per image is least with 2 and 8 latents (10.00 ± 0.50 and 10.50 ± 0.50, which cannot be "
        "told apart) and greatest with 4 latents (20.00 ± 0.50).",
    ),
    (  # first falling, then within the spread
        {2: around(30, 0.5), 4: around(20, 0.5), 8: around(19.9, 0.5), 16: around(19.8, 0.5)},
        "The squared error per image falls from 30.00 ± 0.50 with 2 latents to 20.00 ± 0.50 with 4 latents; with 4, "
        "8 and 16 latents it cannot be told apart: 20.00 ± 0.50, 19.90 ± 0.50 and 19.80 ± 0.50.",
    ),
    (  # falling, then equal
        {2: around(30, 0.5), 4: around(20, 0.5), 8: around(15, 0.5), 16: around(15, 0.5)},
        "The squared error per image falls at every step, from 30.00 ± 0.50 with 2 latents to 15.00 ± 0.50 with 8 "
        "latents; with 8 and 16 latents it is the same, 15.00 ± 0.50.",
    ),
    (  # steps within the spread, ends apart: no trend, but ends
        {2: around(20, 1.1), 4: around(18, 1.1), 8: around(16, 1.1)},
        "The squared error per image is less with 8 latents (16.00 ± 1.10) than with 2 latents (20.00 ± 1.10), and "
        "cannot be told from either with 4 latents (18.00 ± 1.10).",
    ),
    (  # the extremes have so wide a spread that two others alone can be told apart
        {2: around(30, 20), 4: around(22, 0.1), 8: around(20, 0.1), 16: around(10, 20)},
        "With 2, 4, 8 and 16 latents the extremes of the squared error per image cannot be told apart: 30.00 ± "
        "20.00, 22.00 ± 0.10, 20.00 ± 0.10 and 10.00 ± 20.00.",
    ),
    (  # the spread is larger than all differences
        {2: around(30, 20), 4: around(20, 20)},
        "With 2 and 4 latents the squared error per image cannot be told apart: 30.00 ± 20.00 and 20.00 ± 20.00.",
    ),
    (  # all equal
        {2: around(20, 1), 4: around(20, 1), 8: around(20, 1)},
        "With 2, 4 and 8 latents the squared error per image is the same, 20.00 ± 1.00.",
    ),
    (  # further apart than the last digit that is shown
        {2: around(0.0031, 0.0001), 4: around(0.0012, 0.0001)},
        "The squared error per image falls from 0.0031 ± 0.0001 with 2 latents to 0.0012 ± 0.0001 with 4 latents.",
    ),
]


@pytest.mark.parametrize(("values", "sentence"), TRENDS)
def test_a_trend_is_named_where_every_step_has_it(values, sentence):
    assert said(along("latent", "sse", values)) == [f"**ae**: {sentence}"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((30, 20, 10), "The squared error per image falls at every step, from 30.00 with 2 latents to 10.00 with 8 "
                       "latents."),
        ((30, 10, 20), "The squared error per image is least with 4 latents (10.00) and greatest with 2 latents "
                       "(30.00)."),
        ((10, 20, 10), "The squared error per image is least with 2 and 8 latents (10.00) and greatest with 4 "
                       "latents (20.00)."),
        ((10, 10.001, 10.002), "With 2, 4 and 8 latents the squared error per image is the same, 10.00."),
    ],
)  # fmt: skip
def test_of_one_seed_the_figures_are_said_and_that_there_is_no_spread(values, sentence):
    made = along("latent", "sse", {size: [value] for size, value in zip((2, 4, 8), values, strict=True)})
    assert said(made) == [f"**ae**: {sentence}", ONE_SEED]


def test_a_group_of_one_seed_is_left_out_of_a_trend_and_named():
    made = along("latent", "sse", {2: around(30, 1), 4: [99.0], 8: around(10, 1)})
    assert said(made) == [
        "**ae**: Where there are several seeds, the squared error per image falls from 30.00 ± 1.00 with 2 latents "
        "to 10.00 ± 1.00 with 8 latents. With 4 latents there is one seed and no spread: 99.00.",
        "**latent=4 ae** has one seed and no spread.",
    ]
    made = along("latent", "sse", {1: [99.0], 2: around(30, 1), 4: [98.0]})
    assert said(made) == [
        "**ae**: The squared error per image is least with 2 latents (30.00 ± 1.00) and greatest with 1 latent "
        "(99.00).",
        "**latent=1 ae** and **latent=4 ae** have one seed and no spread.",
    ]


@pytest.mark.parametrize(
    ("pca", "sentence"),
    [
        ((30, 30, 30), "The error is below PCA's at every size."),
        ((5, 5, 5), "The error is above PCA's at every size."),
        ((20.3, 10.3, 9.7), "The error is not to be told from PCA's at any size."),
        ((30, 30, 5), "The error is below PCA's with 2 and 4 latents and above PCA's with 8 latents."),
        ((30, 5, 5), "The error is below PCA's with 2 latents and above PCA's with 4 and 8 latents."),
        ((30, 10.3, 5), "The error is below PCA's with 2 latents, above PCA's with 8 latents and not to be told from "
                        "PCA's with 4 latents."),
    ],
)  # fmt: skip
def test_the_error_is_held_against_that_of_pca_at_each_size(pca, sentence):
    made = along("latent", "sse", {2: around(20, 0.5), 4: around(10, 0.5), 8: around(10, 0.5)}, pca_sse=pca)
    assert said(made)[0].endswith(f" {sentence}")


def test_two_sizes_are_both_and_one_seed_is_compared_as_it_is_shown():
    made = along("latent", "sse", {1: around(20, 0.5), 2: around(10, 0.5)}, pca_sse=(30, 20))
    assert said(made)[0].endswith(" The error is below PCA's at both sizes.")
    made = along("latent", "sse", {1: [20.0], 2: [10.001]}, pca_sse=(30, 10.002))
    assert said(made)[0].endswith(
        " The error is below PCA's with 1 latent and not to be told from PCA's with 2 latents."
    )


BESTS = [
    (
        {2: around(-120, 0.4), 16: around(-102.23, 0.36), 32: around(-110, 0.4)},
        "The ELBO is highest with 16 latents (-102.23 ± 0.36 nats).",
    ),
    (
        {2: around(-120, 0.4), 16: around(-102.23, 0.36), 32: around(-102.17, 0.48), 64: around(-102.21, 0.34)},
        "The ELBO is highest with 16, 32 and 64 latents (-102.23 ± 0.36, -102.17 ± 0.48 and -102.21 ± 0.34 nats, "
        "which cannot be told apart).",
    ),
    (
        {2: around(-120, 1), 4: around(-100, 1), 8: around(-100, 1)},
        "The ELBO is highest with 4 and 8 latents (-100.00 ± 1.00 nats).",
    ),
    (  # the highest has a wide spread: two others cannot be told from it, but from each other
        {2: around(-100, 2), 4: around(-101, 0.1), 8: around(-101.5, 0.1), 16: around(-120, 0.1)},
        "The ELBO is highest with 2, 4 and 8 latents (-100.00 ± 2.00, -101.00 ± 0.10 and -101.50 ± 0.10 nats, none "
        "of which can be told from the highest).",
    ),
    (
        {2: around(-100, 1), 4: around(-100.5, 1)},
        "With 2 and 4 latents the ELBO cannot be told apart: -100.00 ± 1.00 and -100.50 ± 1.00 nats.",
    ),
    ({2: around(-100, 1), 4: around(-100, 1)}, "With 2 and 4 latents the ELBO is the same, -100.00 ± 1.00 nats."),
    (
        {1: around(-100, 1), 2: around(-105, 1)},
        "The ELBO is highest with 1 latent (-100.00 ± 1.00 nats), against -105.00 ± 1.00 nats with 2 latents.",
    ),
    (
        {1: [-100.0], 2: [-105.0], 4: [-104.0]},
        "The ELBO is highest with 1 latent (-100.00 nats); there is one seed of each, and no spread to compare with.",
    ),
    (
        {1: [-100.0], 2: around(-105, 1)},
        "The ELBO is highest with 1 latent (-100.00 nats), against -105.00 ± 1.00 nats with 2 latents; with 1 latent "
        "there is one seed and no spread.",
    ),
    (
        {1: [-90.0], 2: around(-105, 1), 4: around(-100, 1), 8: [-91.0]},
        "The ELBO is highest with 4 latents (-100.00 ± 1.00 nats), against -105.00 ± 1.00 nats with 2 latents. With "
        "1 and 8 latents there is one seed and no spread: -90.00 and -91.00 nats.",
    ),
]


@pytest.mark.parametrize(("values", "sentence"), BESTS)
def test_a_size_is_the_best_only_where_the_spread_lets_it_be(values, sentence):
    made = along("latent", "elbo", values, prior=True, sse=[20.0] * len(values))
    first = said(made)[0]
    assert first.startswith(("**vae**: With ", "**vae**: Where there are several seeds, with "))
    assert first.endswith(
        f": 20.00 and 20.00 ± 0.00. {sentence}" if "; with 1 latent" in sentence else f". {sentence}"
    )


@pytest.mark.parametrize(
    ("size", "active", "sentence"),
    [
        (64, [13, 13, 14], " Of 64 latents 13.3 ± 0.6 are active."),
        (64, [13], " Of 64 latents 13 are active."),
        (8, [1], " Of 8 latents 1 is active."),
        (8, [0], " Of 8 latents none is active."),
        (8, [8, 8, 8], None),
        (8, [8, 8, 7], None),  # 7.7 on average: less than half a latent is idle
    ],
)
def test_latents_that_are_not_used_are_counted(size, active, sentence):
    def figures(count):
        return {"sse": [20.0] * count, "elbo": [-100.0] * count}

    many = len(active)
    made = runs("latent=2 model=vae", {**figures(many), "active_units": [2] * many})
    made += runs(f"latent={size} model=vae", {**figures(many), "active_units": active})
    assert (sentence in said(made)[0]) if sentence else ("active" not in said(made)[0])


def test_along_the_weight_kl_reconstruction_and_active_units_are_said():
    made = []
    for weight, kl, recon, active in ((0.5, 30, 60, 8), (1, 20, 70, 8), (4, 10, 69.8, 1)):
        given = {"kl": around(kl, 0.5), "recon": around(recon, 0.5), "active_units": [active] * 3}
        made += runs(f"kl_weight={weight}", {**given, "sse": [20.0] * 3, "elbo": around(-kl - recon, 0)})
    assert said(made)[:1] == [
        "**all runs**: The KL falls at every step, from 30.00 ± 0.50 nats at kl_weight 0.5 to 10.00 ± 0.50 nats at "
        "kl_weight 4. The reconstruction term rises from 60.00 ± 0.50 nats at kl_weight 0.5 to 70.00 ± 0.50 nats at "
        "kl_weight 1; at kl_weight 1 and 4 it cannot be told apart: 70.00 ± 0.50 and 69.80 ± 0.50 nats. The number "
        "of active units is least at kl_weight 4 (1.0 ± 0.0) and greatest at kl_weight 0.5 and 1 (8.0 ± 0.0)."
    ]


def test_a_weight_means_nothing_to_an_ae():
    made = [run for weight in (1, 4) for run in runs(f"kl_weight={weight} model=ae", {"sse": [20.0]})] + [
        run
        for weight in (1, 4)
        for run in runs(f"kl_weight={weight} model=vae", {"sse": [20.0], "kl": [9.0 / weight]})
    ]
    assert said(made) == [
        "**vae**: The KL falls from 9.00 nats at kl_weight 1 to 2.25 nats at kl_weight 4.", ONE_SEED
    ]  # fmt: skip


def test_beside_each_other_the_means_are_compared_and_not_the_best_runs():
    """The std posterior has the best run of all, and the worse mean."""
    made = runs("model.posterior=std", {"elbo": [-177.79, -180, -180.83], "sse": [30.0] * 3})
    made += runs("model.posterior=logvar", {"elbo": [-178.42, -178.52, -178.32], "sse": [30.0] * 3})
    assert said(made)[0] == (
        "With model.posterior=std and model.posterior=logvar the ELBO cannot be told apart: -179.54 ± 1.57 and "
        "-178.42 ± 0.10 nats."
    )
    made = runs("model.posterior=std", {"elbo": around(-179.54, 0.2), "sse": around(31, 0.2)})
    made += runs("model.posterior=logvar", {"elbo": around(-178.42, 0.1), "sse": around(30, 0.2)})
    assert said(made) == [
        "The ELBO is highest with model.posterior=logvar (-178.42 ± 0.10 nats), against -179.54 ± 0.20 nats with "
        "model.posterior=std.",
        "The squared error per image is least with model.posterior=logvar (30.00 ± 0.20), against 31.00 ± 0.20 with "
        "model.posterior=std.",
        "Over seeds the ELBO has a standard deviation of at most 0.20 nats.",
    ]


def test_ae_and_vae_are_compared_by_what_both_have():
    made = runs("model=ae", {"recon": around(80, 0.5), "sse": around(9, 0.1)})
    made += runs("model=vae", {"recon": around(90, 1), "sse": around(10, 0.1), "elbo": around(-100, 2)})
    assert said(made) == [
        "**vae**: The ELBO is -100.00 ± 2.00 nats.",
        "The squared error per image is least with ae (9.00 ± 0.10), against 10.00 ± 0.10 with vae.",
        "Over seeds the reconstruction term has a standard deviation of at most 1.00 nats.",
        "Over seeds the ELBO has a standard deviation of 2.00 nats.",
    ]


def test_figures_of_other_data_or_another_likelihood_are_not_compared():
    made = [
        *runs("dataset=mnist lr=1", {"sse": around(30, 1), "elbo": around(-100, 1)}, data="mnist"),
        *runs("dataset=mnist lr=2", {"sse": around(20, 1), "elbo": around(-90, 1)}, data="mnist"),
        *runs("dataset=digits lr=1", {"sse": around(3, 1)}, data="digits"),
    ]
    assert said(made)[:3] == [
        "The ELBO is highest with mnist lr=2 (-90.00 ± 1.00 nats), against -100.00 ± 1.00 nats with mnist lr=1.",
        "**mnist**: The squared error per image is least with mnist lr=2 (20.00 ± 1.00), against 30.00 ± 1.00 with "
        "mnist lr=1.",
        "**digits lr=1**: The squared error per image is 3.00 ± 1.00.",
    ]
    made = runs("likelihood=gaussian", {"sse": [30.0], "elbo": [900.0]}, data="mnist", likelihood="gaussian")
    made += runs("likelihood=bernoulli", {"sse": [30.0], "elbo": [-90.0]}, data="mnist", likelihood="bernoulli")
    assert said(made) == [
        "**gaussian**: The ELBO is 900.00 nats.", "**bernoulli**: The ELBO is -90.00 nats.",
        "With gaussian and bernoulli the squared error per image is the same, 30.00.", ONE_SEED,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seeds", "sentences"),
    [
        (around(-100, 1), ["**all runs**: The ELBO is -100.00 ± 1.00 nats.",
                           "Over seeds the ELBO has a standard deviation of 1.00 nats."]),
        ([-100.0], ["**all runs**: The ELBO is -100.00 nats.", "There is one seed, and no spread to compare with."]),
    ],
)  # fmt: skip
def test_a_single_group_is_said_as_it_is(seeds, sentences):
    assert said(runs("", {"elbo": seeds, "sse": [20.0] * len(seeds)})) == sentences


def test_a_nan_reaches_no_mean_and_no_sentence():
    made = along("latent", "sse", {2: [29.0, NAN, 31.0], 4: [NAN, NAN, NAN], 8: [9.0, 10.0, 11.0]})
    assert said(made) == [
        "**ae**: The squared error per image falls from 30.00 ± 1.41 with 2 latents to 10.00 ± 1.00 with 8 latents."
    ]
    assert said([run for run in made if run.values["latent"] == 4]) == []
