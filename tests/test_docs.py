"""The examples of the pages in docs/ that are Python, run as they stand."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def examples(page: str) -> str:
    """Its blocks of Python, one after another."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE))


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
