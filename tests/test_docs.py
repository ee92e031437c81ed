"""The README and the pages in docs/: their Python is run, their command lines compose, their links lead somewhere."""

import importlib.util
import itertools
import re

import pages_of_docs as pages
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from aectl.cli import groups, help, launching, paths
from aectl.cli.composing import composed
from aectl.commands.table import COMMANDS
from aectl.errors import ConfigError

DOCS = pages.ROOT / "docs"
WRONG_ON_PURPOSE = [["train", "--epochs", "5"]]  # beside what the command answers
BEGUN = [["tr"], ["train", "model=v"]]  # TAB completes them
CHOICES = DOCS / "choices.md"  # its choices are not there before one has followed it; test_adding.py does


def examples(page: str) -> str:
    """Its blocks of Python, one after another."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE))


def test_every_example_of_the_page_on_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AECTL_CACHE", str(tmp_path / "cache"))
    found: dict = {}
    exec(compile(examples("python.md"), "docs/python.md", "exec"), found)
    assert found["z"].shape == (10, 2)
    assert found["again"].shape == found["images"].shape == (10, 28, 28)
    assert found["new"].shape == (16, 28, 28)
    assert found["nats"].shape == (10,)
    assert found["images"].dtype == "float32"
    assert found["oddest"][0] == "odd.png"
    assert found["mu"].shape == (10, 2)
    assert found["rows"].shape == (600, 64)
    assert "a single image is x[None]" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------- command lines


def command_lines() -> list[tuple[str, ...]]:
    """Each command line of the pages once, without flags; of a sweep each choice, and one value of each setting."""
    typed = [words for page in pages.PAGES if page != CHOICES for words in pages.commands(page)]
    found = sorted({(words[0], *job) for words in typed if is_command(words) for job in jobs(words[1:])})
    assert {name for name, *_ in found} == set(COMMANDS), "a word that is no command, or a command without a line"
    return found


def is_command(words: list[str]) -> bool:
    return words[0][0] != "-" and "--help" not in words and words not in WRONG_ON_PURPOSE + BEGUN


def jobs(words: list[str]) -> list[tuple[str, ...]]:
    """The jobs of a sweep: as many as its longest list has, so that each value is in one; else the line, no flags.

    How a sweep runs its jobs is none of theirs.
    """
    several = [
        values(word) if "-m" in words else [word] for word in words if word[0] != "-" and word != launching.BATCHED
    ]
    most = max(map(len, several), default=1)
    return [tuple(one[job % len(one)] for one in several) for job in range(most)]


def values(word: str) -> list[str]:
    """What a word of a sweep chooses, one at a time; of a setting the first value, of an interval the least."""
    override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return [word]
    if override.is_choice_sweep():
        found = [f"{override.key_or_group}={value}" for value in override.sweep_string_iterator()]
        return found if (groups.config_dir() / override.key_or_group).is_dir() else found[:1]
    return [f"{override.key_or_group}={override.value().start}"]


def together(lines: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Lines that choose alike and differ in numbers and names at most, as one: composing takes its time."""
    packs: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for name, *words in lines:
        choosing = groups.choices_of(name)
        chosen = tuple(sorted(word for word in words if word.partition("=")[0] in choosing))
        said = {word.partition("=")[0]: word for word in words}
        fitting = packs.setdefault((name, *chosen), [])
        pack = next(
            (one for one in fitting if all(alike(one.get(key, word), word) for key, word in said.items())), None
        )
        if pack is None:
            fitting.append(pack := {})
        pack.update(said)
    return [(name, *pack.values()) for (name, *_), fitting in packs.items() for pack in fitting]


def alike(one: str, other: str) -> bool:
    """Whether two words of the same setting are equal, both a number, or paths and names, of which any will do."""
    numbers = [re.fullmatch(r"[\w.]+=-?[\d.]+(e-?\d+)?", word) for word in (one, other)]
    return one == other or all(numbers) or paths.key_of(one) in paths.AS_TYPED


@pytest.mark.parametrize("line", together(command_lines()), ids=" ".join)
def test_every_command_line_of_the_pages_composes(line):
    composed(*line)


def test_help_that_the_pages_name_is_there():
    asked = [
        words for page in pages.PAGES for words in pages.commands(page) if "--help" in words and words[0] in COMMANDS
    ]
    assert ["train", "--help", "noise"] in asked
    for name, *words in asked:
        assert len(help.page(name, words)) > 100


def test_lines_are_found_in_blocks_in_backquotes_and_in_sweeps(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Say `aectl eval split=val`.\n\n    aectl train -m latent=2,4 model=ae,vae  # two\n\n"
        "```bash\naectl runs \\\n  last=5\n```\n\n```python\naectl train x\n```\n"
        "    torchrun -n 2 -m aectl eval run=<run>\n"
    )
    assert sorted(pages.commands(page)) == [
        ["eval", "run=name"], ["eval", "split=val"], ["runs", "last=5"],
        ["train", "-m", "latent=2,4", "model=ae,vae"],
    ]  # fmt: skip
    assert jobs(["-m", "latent=2,4", "model=ae,vae"]) == [("latent=2", "model=ae"), ("latent=2", "model=vae")]


@pytest.mark.parametrize("line", [("train", "latnet=2"), ("train", "noise.sigma=0.5"), ("eval", "split=vall")])
def test_a_dead_setting_does_not_compose(line):
    [alone] = together([line])
    with pytest.raises(ConfigError):
        composed(*alone)


def test_lines_that_choose_otherwise_are_not_put_together():
    lines = [("train", "noise=blur", "noise.sigma=1"), ("train", "noise.sigma=1"), ("train", "lr=1", "noise=blur")]
    lines += [("train", "noise.sigma=null"), ("train", "noise.sigma=3")]
    assert together(lines) == [
        ("train", "noise=blur", "noise.sigma=1", "lr=1"),
        ("train", "noise.sigma=3"),
        ("train", "noise.sigma=null"),
    ]


# ---------------------------------------------------------------------------------------- links, the README, the site


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_links_lead_somewhere(page):
    """In the files as they lie, which is how GitHub shows them; the site's own check is `make docs`."""
    for link in pages.links(page):
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not anchor or anchor in pages.anchors(target), link


def test_the_readme_fits_a_screen():
    text = (pages.ROOT / "README.md").read_text("utf-8")
    assert text.count("\n") <= 130
    assert 3 <= len(re.findall(r"!\[", text)) <= 4


def test_every_page_can_be_reached_from_the_readme():
    """In two clicks: what the README links to, and what that links to."""
    first = {target for target in linked(pages.ROOT / "README.md") if target.suffix == ".md"}
    second = set(itertools.chain.from_iterable(linked(page) for page in first))
    generated_for_the_site = {DOCS / "index.md", *(DOCS / "reference/api").glob("*.md")}
    assert set(pages.PAGES[1:]) - first - second - generated_for_the_site - {DOCS / "gallery/README.md"} == set()


def linked(page):
    return {(page.parent / link.partition("#")[0]).resolve() for link in pages.links(page)}


def hook(name: str):
    """A module of docs/hooks/, as the site's build loads it."""
    spec = importlib.util.spec_from_file_location(f"hook_{name}", DOCS / f"hooks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_is_described_and_on_a_page():
    named = re.findall(
        r"^::: ([\w.]+)$", "\n".join(path.read_text() for path in DOCS.rglob("api/*.md")), re.MULTILINE
    )
    public = hook("public")
    paths = [path for path, _ in public.public()]
    assert {"aectl.load", "aectl.TrainedRun.encode", "aectl.sklearn.Autoencoder.fit"} <= set(paths)
    assert public.faults(set(paths)) == []
    assert public.faults(set(paths) - {"aectl.load"}) == ["aectl.load stands on no page"]
    assert {path for path in paths if path.removeprefix("aectl.").replace("sklearn.", "").count(".") == 0} == set(
        named
    )


def test_a_public_name_without_a_docstring_is_a_fault(monkeypatch):
    public = hook("public")
    monkeypatch.setattr(public.aectl.sklearn.Autoencoder.fit, "__doc__", None)
    assert public.faults({path for path, _ in public.public()}) == ["aectl.sklearn.Autoencoder.fit has no docstring"]


def test_formulas_are_mathml():
    formulas = hook("formulas")
    inline = formulas.on_page_content('a <span class="arithmatex">\\(a &lt; b\\)</span>.')
    assert inline.startswith(
        'a <span class="formula"><math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">'
    )
    assert "&lt;" in inline or "&#x0003C;" in inline
    assert 'display="block"' in formulas.on_page_content('<div class="arithmatex">\\[\\frac{1}{2}\\]</div>')


@pytest.mark.parametrize("path", sorted((pages.ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_command_has_a_page_with_all_its_settings(path):
    text = hook("settings").pages()[f"reference/commands/{path.stem}.md"]
    for key, value in keys(yaml.safe_load(path.read_text("utf-8"))):
        if key.partition(".")[0] not in ("defaults", "hydra") and (key, value) != ("name", path.stem):
            assert f"\n| `{key}=` | `" in text, key


def test_every_choice_is_on_its_page_with_its_settings():
    made = hook("settings").pages()
    for path in (pages.ROOT / "configs").glob("*/*.yaml"):
        if (group := path.parent.name) in ("common", "hydra"):
            continue
        [text] = re.findall(
            rf"^## {group}={path.stem}$.*?(?=^## |\Z)", made[f"reference/choices/{group}.md"], re.M | re.S
        )
        settings = [key for key, _ in keys(yaml.safe_load(path.read_text("utf-8")))] if group != "experiment" else []
        missing = [key for key in settings if key not in ("name", "defaults") and f"| `{group}.{key}=` |" not in text]
        assert not missing, path


def keys(settings, prefix=""):
    """Dotted keys of a YAML file, with values."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_words_of_a_comment_are_shown_as_they_are():
    assert hook("settings").plain("p(x|z) in [0, 1], a*b, $X <i>") == r"p(x\|z) in \[0, 1\], a\*b, \$X &lt;i>"
