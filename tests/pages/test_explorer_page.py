"""`aectl explore`'s page in a real browser: what it shows is what torch computes."""

import base64
import io
import json
import re
import time

import numpy as np
import pytest
import torch
from PIL import Image

import aectl
from aectl.commands.explore import run_explore
from aectl.data.datasets.array import Array
from aectl.data.datasets.synthetic import Synthetic, draw
from aectl.data.images import to_float
from aectl.measuring.scoring import codes_of
from aectl.models.autoencoder import Ae, Vae
from aectl.models.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.conv import Conv
from aectl.models.networks.mlp import Mlp
from aectl.runs.opening import open_data, open_run
from aectl.training import loop
from configs import of, train_config

pytestmark = pytest.mark.pages

LEVELS = 2.01 / 255  # grey levels by which a picture may differ from torch's


class Page:
    """A run's page, opened, with the run."""

    def __init__(self, folder, opened, network=None, model=None, shape=(1, 12, 10), latent=2, **more):
        browser, classes = more.pop("browser", None), more.pop("classes", True)
        dataset = Synthetic(val_size=40, test_size=20, synthetic_size=160, synthetic_shape=list(shape))
        if not classes:
            np.save(folder / "x.npy", draw(60, shape, 0)[0])
            dataset = Array(root=str(folder / "x.npy"), val_size=20, test_size=20)
        network, model = network or Mlp(hidden=[16]), model or Vae(posterior="logvar")
        settings = {"epochs": 1, "device": "cpu", "figures_every": 0, "explore": False, "lr": 1e-2, **more}
        config = train_config(dataset=dataset, network=network, model=model, latent=latent, **settings)
        loop.train(config, folder / "run")
        self.file = folder / "page.html"
        run_explore(of("explore", run=str(folder / "run"), output=str(self.file), device="cpu"), folder)
        self.run = aectl.load(folder / "run", device="cpu")
        text = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', self.file.read_text())[1]
        self.document = json.loads(text)
        self.watched = opened(self.file, **(browser or {}))
        self.page = self.watched.page
        self.until("() => Boolean(window.explorer && explorer.frames)")

    def ask(self, code, *args):
        return self.page.evaluate(code, *args)

    def until(self, code, *args):
        """Wait for it to be true; playwright's own way would need `eval`, which the page forbids."""
        end = time.monotonic() + 30
        while not self.ask(code, *args):
            assert time.monotonic() < end, code
            time.sleep(0.02)

    def pixels(self, canvas):
        """What a canvas shows, (C, H, W) in [0, 1], after all that is pending has been drawn."""
        self.settle()
        data = self.ask("(css) => document.querySelector(css).toDataURL()", canvas)
        image = Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))
        rgb = np.asarray(image)[..., :3].transpose(2, 0, 1) / 255
        return rgb[: self.document["shape"][0]]

    def pixels_of_plane(self):
        """A screenshot of the plane, (3, H, W) in [0, 1]."""
        self.settle()
        image = Image.open(io.BytesIO(self.page.locator("#plane").screenshot()))
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1) / 255

    def settle(self):
        self.ask("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")

    @property
    def z(self):
        return np.array(self.ask("() => [...explorer.state.z]"))

    def box(self):
        return self.page.locator("#plane").bounding_box()

    def spot(self, index):
        """Where an image's dot is on the screen."""
        x, y = self.ask("(index) => explorer.plane.spot(index)", index)
        box = self.box()
        return box["x"] + x, box["y"] + y

    def decoded(self, z):
        """As the Python side decodes it, (C, H, W) in [0, 1]."""
        image = self.run.decode(np.atleast_2d(z).astype(np.float32))[0].clip(0, 1)
        return image.transpose(2, 0, 1) if self.document["shape"][0] == 3 else image.reshape(self.document["shape"])

    def codes(self):
        data = base64.b64decode(self.document["shown"]["codes"])
        return np.frombuffer(data, "<f4").reshape(-1, self.document["latent"])

    def drag(self, x, y):
        """The cross to shares of the plane's width and height."""
        box = self.box()
        self.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        self.page.mouse.up()


@pytest.fixture
def made(tmp_path, opened):
    """Makes a page; at the end of the test it has asked for nothing, and complained of nothing."""
    pages = []

    def make(**settings):
        pages.append(Page(tmp_path, opened, **settings))
        return pages[-1]

    yield make
    for one in pages:
        assert one.watched.complaints == []
        assert one.watched.asked() == []
        assert one.file.stat().st_size <= 3_000_000


ACTIVATIONS = ("leaky_relu", "relu", "tanh", "sigmoid", "elu", "silu", "gelu", "gated")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_drag_shows_what_torch_decodes(made, activation):
    page = made(network=Mlp(hidden=[16, 12], activation=activation))
    for place in ((0.3, 0.2), (0.7, 0.6), (0.95, 0.9)):
        before = page.z
        page.drag(*place)
        assert np.abs(page.z - before).max() > 0.1
        assert np.abs(page.pixels("#decoded") - page.decoded(page.z)).max() <= LEVELS
    assert page.pixels("#decoded").std() > 0.01


@pytest.mark.parametrize(
    "likelihood",
    [Bernoulli(), ContinuousBernoulli(), Gaussian(sigma=0.5), Gaussian(sigma=0.5, mean="sigmoid")],
    ids=["bernoulli", "continuous", "identity", "sigmoid"],
)
def test_every_likelihood_has_its_mean(made, likelihood):
    page = made(likelihood=likelihood, shape=(3, 8, 8))
    page.drag(0.25, 0.7)
    assert np.abs(page.pixels("#decoded") - page.decoded(page.z)).max() <= LEVELS


def test_a_wide_decoder_of_digits_is_within_two_levels(made):
    page = made(network=Mlp(hidden=[300, 300]), shape=(1, 28, 28), model=Ae(), likelihood=Gaussian(sigma=1.0))
    assert page.document["decoder"]["precision"] == "float16"
    page.drag(0.1, 0.1)
    assert np.abs(page.pixels("#decoded") - page.decoded(page.z)).max() <= LEVELS


def test_hover_shows_the_image_and_its_reconstruction(made):
    page = made()
    images = open_data(open_run(str(page.run.path), "best", torch.device("cpu")), None).val.pixels.numpy() / 255
    for index in (0, 7, 39):
        page.page.mouse.move(*page.spot(index))
        page.settle()
        found = page.ask("() => explorer.state.hovered")  # another, where two lie on each other
        assert np.hypot(*np.subtract(page.spot(found), page.spot(index))) < 1
        assert np.abs(page.pixels("#image") - images[found]).max() < 1e-6
        code = np.asarray(page.run.encode(images[found][None].astype(np.float32)))[0]
        assert np.abs(page.pixels("#again") - page.decoded(code)).max() <= LEVELS
        assert f"z1 = {code[0]:.2f}".replace("-", "−") in page.page.inner_text("#whose")


def test_the_nearest_training_images_are_those_of_least_distance(made):
    page = made()
    page.drag(0.4, 0.6)
    run = open_run(str(page.run.path), "best", torch.device("cpu"))
    train = open_data(run, None).train.pixels
    codes = codes_of(run.model, open_data(run, None).train, torch.device("cpu")).numpy()
    nearest = np.linalg.norm(codes - page.z, axis=1).argsort()[:6]
    for place, index in enumerate(nearest):
        shown = page.pixels(f"#nearest figure:nth-child({place + 1}) canvas")
        assert np.abs(shown - train[index].numpy() / 255).max() < 1e-6


def test_the_ellipse_has_the_sigma_of_the_model(made):
    page = made()
    page.page.mouse.move(*page.spot(3))
    page.settle()
    index = page.ask("() => explorer.state.hovered")
    run = open_run(str(page.run.path), "best", torch.device("cpu"))
    with torch.inference_mode():
        code = run.model.encode(to_float(open_data(run, None).val[index : index + 1].pixels))
    sigma = (0.5 * code.logvar[0]).exp().numpy()
    found = page.ask("(index) => explorer.plane.ellipse(index)", index)
    unit = (page.spot(0)[0] - page.spot(1)[0]) / (page.codes()[0] - page.codes()[1])[0]  # pixels
    np.testing.assert_allclose([found["across"] / unit, found["up"] / unit], sigma, rtol=1e-3)
    # And it is drawn: beyond 2 σ upwards the canvas changes when nothing is looked at any more.
    box = page.box()
    with_it = page.pixels_of_plane()
    page.page.mouse.move(box["x"] + box["width"] + 30, box["y"] + 5)
    changed = np.abs(with_it - page.pixels_of_plane()).max(0) > 0.02
    rows = np.nonzero(changed[:, round(found["x"])])[0]
    assert abs(rows.min() - (found["y"] - 2 * found["up"])) < 3
    assert abs(rows.max() - (found["y"] + 2 * found["up"])) < 3


def test_draws_come_from_the_posterior(made):
    page = made()
    page.page.mouse.move(*page.spot(3))
    page.settle()
    draws = page.ask("() => explorer.state.draws.map((z) => [...z])")
    assert len({tuple(z) for z in draws}) == 6
    for place, z in enumerate(draws):
        shown = page.pixels(f"#draws figure:nth-child({place + 1}) canvas")
        assert np.abs(shown - page.decoded(z)).max() <= LEVELS
    index = page.ask("() => explorer.state.hovered")
    many = page.ask(
        """(index) => Array.from({ length: 400 }, () => { explorer.drawn = -2; explorer.showDraws();
        return explorer.state.draws.map((z) => z[0]) }).flat()""",
        index,
    )
    sd = np.frombuffer(base64.b64decode(page.document["shown"]["sd"]), "<f4").reshape(-1, 2)[index, 0]
    assert abs(np.std(many) / sd - 1) < 0.1
    assert abs(np.mean(many) - page.codes()[index, 0]) < 4 * sd / np.sqrt(len(many))


def test_two_clicks_walk_from_one_code_to_the_other(made):
    page = made()
    page.page.mouse.click(*page.spot(2))
    a = page.z
    page.page.mouse.click(*page.spot(11))
    b = page.z
    assert min(np.abs(page.codes() - a).max(1)) < 1e-6
    assert np.abs(a - b).max() > 0.01
    for place, t in ((1, 0), (5, 0.5), (9, 1)):
        shown = page.pixels(f"#walk figure:nth-child({place}) canvas")
        assert np.abs(shown - page.decoded((1 - t) * a + t * b)).max() <= LEVELS
    page.page.fill("#along", "25")
    np.testing.assert_allclose(page.z, 0.75 * a + 0.25 * b, atol=1e-5)
    assert np.abs(page.pixels("#decoded") - page.decoded(page.z)).max() <= LEVELS
    page.page.click("#play")
    page.until("(z) => Math.abs(explorer.state.z[0] - z) > 1e-4", float(page.z[0]))
    page.page.click("#play")
    still = page.z
    page.settle()
    np.testing.assert_array_equal(page.z, still)


def test_the_legend_filters(made):
    page = made()
    buttons = page.page.locator("#legend button")
    labels = page.document["classes"]
    assert [int(text) for text in buttons.all_inner_texts()] == labels
    assert len(labels) > 1

    def seen():
        shown = page.ask("() => [...explorer.shown.labels.keys()].filter((n) => explorer.shown.seen(n))")
        return {page.document["shown"]["labels"][index] for index in shown}

    full = page.pixels_of_plane()
    buttons.nth(0).click()
    assert seen() == set(labels[1:])
    assert (page.pixels_of_plane() != full).any()
    gone = page.document["shown"]["labels"].index(labels[0])
    x, y = page.spot(gone)
    assert page.ask("([x, y]) => explorer.plane.dotAt(x, y, 1)", [x - page.box()["x"], y - page.box()["y"]]) != gone
    buttons.nth(0).click()
    assert seen() == set(labels)
    buttons.nth(1).click(modifiers=["Shift"])
    assert seen() == {labels[1]}
    buttons.nth(1).dblclick()
    assert seen() == set(labels)
    buttons.nth(0).dblclick()
    assert seen() == {labels[0]}


def test_more_latents_have_sliders_and_axes(made):
    page = made(latent=5)
    with torch.inference_mode():
        run = open_run(str(page.run.path), "best", torch.device("cpu"))
        code = run.model.encode(to_float(open_data(run, None).val.pixels))
        kl = 0.5 * (code.logvar.exp() + code.mu**2 - 1 - code.logvar).mean(0)
    order = kl.argsort(descending=True).tolist()
    ids = [slider.get_attribute("id") for slider in page.page.locator("#latents input").all()]
    assert ids == [f"z{axis + 1}" for axis in order]
    assert sorted(order[:2]) == page.ask("() => explorer.state.axes")
    page.page.fill(f"#z{order[4] + 1}", "0.5")
    page.page.fill(f"#z{order[2] + 1}", "-1")
    assert page.z[order[4]] == pytest.approx(0.5, abs=0.02)
    page.drag(0.3, 0.3)
    assert page.z[order[2]] == pytest.approx(-1, abs=0.02)
    assert np.abs(page.pixels("#decoded") - page.decoded(page.z)).max() <= LEVELS
    page.page.select_option("#across", str(order[3]))
    before = page.z
    page.drag(0.8, 0.4)
    assert page.z[order[3]] != before[order[3]]
    assert np.abs(page.pixels("#decoded") - page.decoded(page.z)).max() <= LEVELS
    page.page.mouse.click(*page.spot(4))
    assert min(np.abs(page.codes() - page.z).max(1)) < 1e-6  # all latents are the image's


def test_many_latents_show_sixteen_sliders_first(made):
    page = made(latent=20)
    assert page.page.locator("#latents input:visible").count() == 16
    page.page.click("#rest")
    assert page.page.locator("#latents input:visible").count() == 20


def test_one_latent_is_a_line(made):
    page = made(latent=1)
    page.drag(0.2, 0.5)
    assert np.abs(page.pixels("#decoded") - page.decoded(page.z)).max() <= LEVELS
    there = page.ask("() => explorer.plane.place(0.2 * explorer.plane.size().width, 0)[0]")
    assert page.z[0] == pytest.approx(there, abs=0.02)  # a pixel
    page.page.mouse.move(*page.spot(5))
    page.settle()
    assert not page.page.locator("#image-figure.empty").count()


def test_an_ae_has_no_ellipse_no_rings_and_says_so(made):
    page = made(model=Ae())
    page.page.mouse.move(*page.spot(3))
    page.settle()
    assert page.ask("() => explorer.plane.ellipse(explorer.state.hovered)") is None
    assert not page.document["normal"]
    assert "nonsense" in page.page.inner_text("#about")
    assert not page.page.locator("#draws").count()


def test_a_convolutional_decoder_shows_pictures_made_beforehand(made):
    page = made(network=Conv(channels=[4, 8], hidden=[]), shape=(1, 16, 16), latent=3)
    grid = page.document["decoder"]["grids"][0]
    first, second = grid["axes"]
    ends, middle = page.document["ranges"], np.array(page.document["middle"])
    for column, row in ((0, 0), (7, 3), (grid["across"] - 1, grid["up"] - 1)):
        z = middle.copy()
        z[first] = np.linspace(*ends[first], grid["across"])[column]
        z[second] = np.linspace(*ends[second], grid["up"])[row]
        page.ask("([x, y]) => explorer.moveTo(x, y)", [float(z[first]), float(z[second])])
        assert np.abs(page.pixels("#decoded") - page.decoded(z)).max() <= LEVELS
    page.drag(0.1, 0.2)
    assert page.pixels("#decoded").std() > 0
    assert "made beforehand" in page.page.inner_text(".first")
    page.page.mouse.move(*page.spot(3))
    page.settle()
    index = page.ask("() => explorer.state.hovered")
    assert np.abs(page.pixels("#again") - page.decoded(page.codes()[index])).max() <= LEVELS
    page.page.mouse.click(*page.spot(3))
    other = ({0, 1, 2} - {first, second}).pop()
    assert page.z[other] == pytest.approx(middle[other], abs=1e-5)  # what is said is what is shown
    page.page.select_option("#pair", "1")
    assert page.ask("() => explorer.state.axes") == page.document["decoder"]["grids"][1]["axes"]


def test_keys_do_what_hands_do(made):
    page = made()
    page.page.focus("#plane")
    start = page.z
    page.page.keyboard.press("ArrowRight")
    step = page.z - start
    assert step[0] > 0
    assert step[1] == 0
    page.page.keyboard.press("Shift+ArrowUp")
    np.testing.assert_allclose((page.z - start)[1], 5 * step[0], rtol=1e-4)
    page.page.keyboard.press("Enter")
    page.page.keyboard.press("]")
    np.testing.assert_array_equal(page.z.astype(np.float32), page.codes()[0])
    assert "z1" in page.page.inner_text("#said")
    page.page.keyboard.press("Enter")
    assert page.ask("() => explorer.state.way.length") == 2
    page.page.keyboard.press("Escape")
    assert page.ask("() => [explorer.state.way.length, explorer.state.selected]") == [0, -1]
    page.page.keyboard.press("?")
    assert page.page.locator("#keys").is_visible()
    page.page.keyboard.press("Escape")
    assert not page.page.locator("#keys").is_visible()
    assert page.ask("() => getComputedStyle(document.querySelector('#plane')).outlineStyle") == "solid"


def test_everything_can_be_reached_by_tab(made):
    page = made(latent=3)
    page.ask("() => document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        page.page.keyboard.press("Tab")
        reached.add(page.ask("() => document.activeElement.id || document.activeElement.textContent"))
    assert {"plane", "z1", "z2", "z3", "across", "up", "theme", "help", "map"} <= reached


def test_fingers_and_a_small_screen(made):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = made(browser=phone)
    page.page.touchscreen.tap(*page.spot(6))
    page.settle()
    assert min(np.abs(page.codes() - page.z).max(1)) < 1e-6
    assert not page.page.locator("#image-figure.empty").count()
    assert page.ask("() => document.documentElement.scrollWidth") <= 390
    assert page.page.locator("#decoded").bounding_box()["y"] < 844 - 100  # seen below the plane


def test_the_light_follows_the_system_and_the_button(made):
    page = made(browser={"color_scheme": "dark", "reduced_motion": "reduce"})
    paper = "() => getComputedStyle(document.body).backgroundColor"
    dark, plane = page.ask(paper), page.pixels_of_plane()
    page.page.click("#theme")
    assert page.ask(paper) == "rgb(255, 255, 255)" != dark
    assert page.pixels_of_plane().mean() > plane.mean() + 0.3


def test_the_map_is_the_decoder_of_each_place(made):
    page = made(shape=(1, 16, 16))
    page.page.click("[data-view=map]")
    page.until("() => explorer.plane.todo && !explorer.plane.todo.length")
    cell = page.ask(
        """() => { const data = explorer.plane.map.getContext("2d").getImageData(68, 102, 34, 34).data;
        return Array.from({ length: 34 * 34 }, (_, i) => data[4 * i]) }"""
    )
    z = page.ask("() => explorer.plane.place(68 + 17, 102 + 17)")
    assert abs(np.mean(cell) / 255 - page.decoded(z).mean()) < 0.01


def test_an_image_without_a_label_is_grey_and_a_data_set_without_any_has_no_legend(made):
    page = made(classes=False)
    assert not page.page.locator("#legend").count()
    assert page.ask("() => explorer.shown.word(0)") == ""
