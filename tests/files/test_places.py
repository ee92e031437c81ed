import os

import pytest
from albums import put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aectl.errors import DataError, StorageError
from aectl.files import places
from aectl.files.places import Places

NAMES = st.lists(st.sampled_from(["a", "b", "A", "noisy"]), min_size=1, max_size=3).map("/".join)


def fits(root, names) -> bool:
    """Whether the file system can have all of them as files, none over another, with the reports."""
    try:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            with (root / name).open("x"):
                pass
    except OSError:
        return False
    return True


@given(st.lists(NAMES, max_size=5), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_taken_fits_and_what_is_refused_does_not(tmp_path_factory, names, noisy):
    """The reference is the file system itself."""
    root = tmp_path_factory.mktemp("places")
    taken, written = Places(root, ["report"]), ["report"]
    for number, name in enumerate(names):
        files = [name, f"noisy/{name}"] if noisy else [name]
        try:
            taken.take(files, name)
        except DataError:
            assert not fits(root / str(number), [*written, *files])
        else:
            written += files
    assert fits(root / "all", written)


def test_where_the_file_system_folds_names_so_do_places(tmp_path):
    for fold, other in ((True, "A/STRASSE.png"), (True, "a/Stra\u00dfe.png"), (False, None)):
        taken = Places(tmp_path, [], fold=fold)
        taken.take(["a/straße.png"], "first")
        if fold:
            with pytest.raises(DataError, match="first"):
                taken.take([other], "second")
        else:
            taken.take(["A/straße.png"], "second")
    taken = Places(tmp_path, [], fold=True)
    taken.take(["\u00e9"], "first")
    with pytest.raises(DataError):
        taken.take(["e\u0301"], "second")


def test_folders_are_made_or_taken_away_again(tmp_path):
    places.prepare([tmp_path / "a/b/c.png", tmp_path / "a/d.png"])
    assert (tmp_path / "a/b").is_dir()
    put(tmp_path, {"file": b"kept"})
    (tmp_path / "folder").mkdir()
    for wrong, why in (("file/x/a.png", "exists"), ("folder", "directory"), ("a" * 256, "too long"),
                       ("d/" * 2100 + "a.png", "too long")):  # fmt: skip
        with pytest.raises(StorageError, match=f"cannot be written .*{why}"):
            places.prepare([tmp_path / "new/x/a.png", tmp_path / wrong])
        assert not (tmp_path / "new").exists()
        assert not (tmp_path / "d").exists()
    assert (tmp_path / "file").read_bytes() == b"kept"
    places.prepare([tmp_path / ("a" * 255)])


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_noticed(tmp_path):
    (tmp_path / "in").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        places.prepare([tmp_path / "in/a.png"])
