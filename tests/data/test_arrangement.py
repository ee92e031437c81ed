import pytest
from hypothesis import given
from hypothesis import strategies as st

from aectl.data.datasets.arrangement import arrange


def expand(layout: str) -> tuple[list[str], list[str | None], list[str | None]]:
    """Names, parts and classes from rows of: folder, count, part, class (- for none)."""
    names, parts, classes = [], [], []
    for row in layout.strip().splitlines():
        folder, count, part, label = row.split()
        for i in range(int(count)):
            names.append(f"{'' if folder == '.' else folder + '/'}{i}.png")
            parts.append(None if part == "-" else part)
            classes.append(None if label == "-" else label)
    return names, parts, classes


LAYOUTS = {
    "two classes": "cats 2 - cats\n dogs 3 - dogs",
    "a folder around them": "pets/all/cats 2 - cats\n pets/all/dogs 3 - dogs",
    "strays at several heights": "pets/cats 5 - cats\n pets/dogs 5 - dogs\n pets 1 - -\n . 2 - -",
    "folders below the classes": "cats/a/b 2 - cats\n dogs 3 - dogs",
    "one class": "cats 9 - -\n . 1 - -",
    "no folders": ". 9 - -",
    "mostly none": ". 5 - -\n cats 2 - -\n dogs 3 - -",
    "parts": "train 4 train -\n test 2 test -",
    "parts and classes": "train/cats 4 train cats\n train/dogs 4 train dogs\n test/dogs 1 test dogs",
    "other names of parts": "Training_set/a 1 train a\n Training_set/b 1 train b\n testing/a 1 test a",
    "years": "train2017 3 train -\n val2017 1 val -",
    "a folder around the parts": "d/train/a 2 train a\n d/train/b 2 train b\n d/val/a 1 val a\n . 1 - -",
    "a folder around the classes of the parts": "train/i/a 2 train a\n train/i/b 2 train b\n test/i/a 1 test a",
    "beside the parts": "train/a 2 train a\n train/b 2 train b\n test/a 1 test a\n masks/a 9 - -\n . 1 - -",
    "parts in each class": "a/train 2 train a\n a/test 1 test a\n b/train 2 train b\n b/valid 1 val b\n b/m 1 - -",
    "a test part without classes": "train/a 2 train a\n train/b 2 train b\n test 9 test -",
    "a class that only the test part has": "train/a 2 train a\n train/b 2 train b\n test/c 9 test c",
    "a train among vehicles": "bus 2 - bus\n train 2 - train",
    "parts of a few pictures deep below": "a 9 - a\n b 9 - b\n b/x/train 1 - b\n b/x/test 1 - b",
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_that_people_have(layout):
    names, parts, classes = expand(layout)
    found = arrange(names)
    assert (found.parts or [None] * len(names)) == parts
    assert (found.classes or [None] * len(names)) == classes


def test_what_was_found_is_said_in_a_line():
    names, *_ = expand(LAYOUTS["beside the parts"])
    assert arrange(names).describe() == (
        "parts by folder: train 4, test 1; in none of them and left out: 10, such as masks/a/0.png; "
        "labels by folder: 0 a (3), 1 b (2)"
    )
    names, *_ = expand(LAYOUTS["strays at several heights"])
    assert arrange(names).describe() == (
        "labels by folder: 0 cats (5), 1 dogs (5); outside of these folders, without a label: 3, such as pets/0.png"
    )
    assert "no labels" in arrange(["a.png"]).describe()
    line = arrange([f"c{i:03d}/a.png" for i in range(999)]).describe()
    assert "and 989 more" in line
    assert len(line) < 300


FOLDERS = st.lists(st.sampled_from(["a", "b", "c", "train", "test", "val"]), max_size=4)
TREES = st.lists(FOLDERS.map(lambda folders: "/".join([*folders, "x.png"])), min_size=1, max_size=12)


@given(TREES, st.lists(st.sampled_from(["top", "a", "images"]), max_size=3))
def test_folders_around_all_change_nothing(names, around):
    one, other = arrange(names), arrange(["/".join([*around, name]) for name in names])
    assert (one.parts, one.classes) == (other.parts, other.classes)


@given(TREES, st.randoms())
def test_the_order_of_the_names_changes_nothing(names, random):
    order = random.sample(range(len(names)), len(names))
    one, other = arrange(names), arrange([names[i] for i in order])
    for a, b in ((one.parts, other.parts), (one.classes, other.classes)):
        assert (None if a is None else [a[i] for i in order]) == b


@given(TREES)
def test_a_stray_picture_takes_no_label_and_no_part_from_the_others(names):
    names = names * 3  # so that one is few
    one, other = arrange(names), arrange([*names, "stray.png"])
    assert one.parts == (other.parts and other.parts[:-1])
    assert one.classes == (other.classes and other.classes[:-1])
    assert not other.classes or other.classes[-1] is None


@given(TREES)
def test_nothing_in_a_folder_for_testing_is_trained_on(names):
    """Where train and test lie side by side at the top, whatever else is there."""
    found = arrange([*names, "train/1.png", "test/2.png"])
    for name, part in zip(found.names, found.parts, strict=True):
        assert part == (name.partition("/")[0] if name.startswith(("train/", "test/", "val/")) else None)
