import os
import zipfile
from pathlib import Path

import pytest
from albums import bmp, put, taken_away, zipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aectl.errors import DataError
from aectl.files import listing


def names(root) -> list[str]:
    return [entry.name for entry in listing.below(root).entries]


def test_links_to_files_and_folders_are_followed(tmp_path):
    put(tmp_path / "far/sub", {"1.bmp": bmp(1), "2.bmp": bmp(2)})
    put(tmp_path / "in/cats", {"3.bmp": bmp(3)})
    (tmp_path / "in/dogs").symlink_to(tmp_path / "far")
    (tmp_path / "in/cats/4.bmp").symlink_to(tmp_path / "far/sub/1.bmp")
    found = listing.below(tmp_path / "in")
    assert [entry.name for entry in found.entries] == ["cats/3.bmp", "cats/4.bmp", "dogs/sub/1.bmp", "dogs/sub/2.bmp"]
    assert [entry.read() for entry in found.entries] == [bmp(3), bmp(1), bmp(1), bmp(2)]
    assert found.rest() == ""


def test_links_that_lead_back_are_passed_over(tmp_path):
    put(tmp_path / "in", {"a/b/1.bmp": bmp(1), "c/2.bmp": bmp(2)})
    put(tmp_path / "far", {"3.bmp": bmp(3)})
    for place, target in (("a/b/up", ".."), ("a/root", tmp_path / "in"), ("c/above", tmp_path), ("0", "a/b"),
                          ("x", tmp_path / "far"), ("y", tmp_path / "far")):  # fmt: skip
        (tmp_path / "in" / place).symlink_to(target)
    (tmp_path / "far/back").symlink_to(tmp_path / "in/c")
    found = listing.below(tmp_path / "in")
    assert [entry.name for entry in found.entries] == ["a/b/1.bmp", "c/2.bmp", "x/3.bmp"]
    assert found.rest() == "links to folders read already 6"


def test_what_is_passed_over_is_counted_by_kind(tmp_path):
    files = {"a.bmp": bmp(1), "b.HEIC": b"", "c.heic": b"", "README": b"", ".DS_Store": b"", "__MACOSX/d.bmp": b""}
    for root in (put(tmp_path / "in", files), zipped(tmp_path / "in.zip", files)):
        found = listing.below(root)
        assert [entry.name for entry in found.entries] == ["a.bmp"]
        assert dict(found.passed_over) == {".heic": 2, "without a suffix": 1, "hidden": 2}
        assert found.rest() == ".heic 2, hidden 2, without a suffix 1"
    with pytest.raises(DataError, match=r"has no pictures .*; passed over: \.txt 1"):
        listing.below(put(tmp_path / "none", {"a.txt": b""}))


def test_a_folder_that_cannot_be_listed_is_a_bad_picture(tmp_path, monkeypatch):
    put(tmp_path, {"a/1.bmp": bmp(1), "b/2.bmp": bmp(2)})
    scan = os.scandir

    def refusing(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    good, bad = listing.below(tmp_path).entries
    assert (good.name, bad.name) == ("a/1.bmp", "b/")
    with pytest.raises(DataError, match="Permission denied"):
        bad.read()


def test_folders_two_thousand_deep(tmp_path, monkeypatch):
    with taken_away(tmp_path / "d"):
        monkeypatch.chdir(tmp_path)
        for _ in range(2000):
            os.mkdir("d")  # noqa: PTH102
            os.chdir("d")
        with open("a.bmp", "wb") as file:  # noqa: PTH123
            file.write(bmp(1))
        monkeypatch.chdir(tmp_path)
        (entry,) = listing.below(Path("d")).entries
        assert entry.name == "d/" * 1999 + "a.bmp"
        assert entry.read() == bmp(1)


def test_of_members_with_one_name_the_last_is_kept_and_the_others_are_bad(tmp_path):
    members = (("x/a.bmp", 1), ("x/b.bmp", 2), ("x//a.bmp", 3), ("./x/a.bmp", 4), ("x/a.bmp", 5))
    zipped(tmp_path / "a.zip", [(name, bmp(value)) for name, value in members])
    *bad, good, other = listing.below(tmp_path / "a.zip").entries
    assert [entry.name for entry in (*bad, good, other)] == ["x/a.bmp"] * 4 + ["x/b.bmp"]
    assert (good.read(), other.read()) == (bmp(5), bmp(2))
    for entry in bad:
        with pytest.raises(DataError, match="once more"):
            entry.read()


def test_names_of_members_lead_nowhere_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../a.bmp", "x/../../b.bmp", "/c.bmp"):
            archive.writestr(name, bmp(1))
        member = zipfile.ZipInfo("d")
        member.filename, member.create_system = "win\\d.bmp", 0  # as Windows' own programs wrote them
        archive.writestr(member, bmp(1))
    found = listing.below(tmp_path / "a.zip").entries
    assert [entry.name for entry in found if entry.problem is None] == ["c.bmp", "win/d.bmp"]
    assert len(found) == 4


PART = st.text(st.characters(exclude_characters="/\0\\", exclude_categories=["Cs"]), min_size=1, max_size=6).filter(
    lambda name: not name.startswith(".") and name != "__MACOSX" and not name.lower().endswith(listing.SUFFIXES)
)


@given(st.lists(st.lists(PART, min_size=1, max_size=3).map("/".join), unique=True, min_size=1, max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_folder_and_its_zip_have_the_same_names(tmp_path_factory, stems):
    root = tmp_path_factory.mktemp("tree")
    files = {f"{stem}.bmp": bmp(i) for i, stem in enumerate(stems)}
    folder, archive = put(root / "in", files), zipped(root / "in.zip", files)
    assert names(folder) == names(archive) == sorted(files)
    assert [entry.read() for entry in listing.below(archive).entries] == [files[name] for name in sorted(files)]
