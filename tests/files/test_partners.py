import pytest
from albums import bmp, put

from aectl.files import listing
from aectl.files.listing import Entry
from aectl.files.partners import partners


def entries(*names: str) -> list[Entry]:
    return [Entry(name, name) for name in names]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [(["a.png", "b/a.png"], ["b/a.png", "a.png"], ["a.png", "b/a.png"]),
     (["a.png", "b.png"], ["b.tif", "a.JPG"], ["a.JPG", "b.tif"]),
     (["a.png"], ["a.tif", "a.png"], ["a.png"]),
     (["a.png", "a.tif"], ["a.tif", "a.jpg"], ["a.jpg", "a.tif"]),
     (["a.1.png", "a.2.png"], ["a.2.tif", "a.1.tif"], ["a.1.tif", "a.2.tif"]),
     (["a.png"], ["A.png", "c/a.png", "a.b/png"], [None]),
     (["a.png"], ["a.tif", "a.jpg"], [None]),
     (["a.png", "a.jpg"], ["a.tif"], [None, None])],
)  # fmt: skip
def test_the_whole_name_counts_then_the_name_without_suffix_if_nobody_else_could_claim_it(ours, theirs, expected):
    found = partners(entries(*ours), entries(*theirs))
    assert [one.name if isinstance(one, Entry) else None for one in found] == expected


def test_why_there_is_no_partner(tmp_path):
    put(tmp_path, {"ours/a.bmp": bmp(0), "ours/b.bmp": bmp(0), "theirs/b.png": b"", "theirs/b.tif": b""})
    ours, theirs = (listing.below(tmp_path / name).entries for name in ("ours", "theirs"))
    assert partners(ours, theirs) == ["none has its name", "which is its is not clear: b.bmp, b.png, b.tif"]
