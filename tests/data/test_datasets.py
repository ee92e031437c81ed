"""Data sets as choices: what each is asked, and what is said where a setting is not one of its own."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from albums import own

from aectl.cli.composing import config_dir
from aectl.cli.paths import PATH_KEYS
from aectl.data.datasets.array import Array
from aectl.data.datasets.base import Own
from aectl.data.datasets.like_mnist import Emnist, Mnist
from aectl.data.datasets.official import NEED_NO_FILES, Official
from aectl.data.datasets.synthetic import Synthetic
from aectl.data.datasets.table import DATASETS
from aectl.data.split import build_dataset
from aectl.errors import ConfigError
from aectl.settings import typed

SAVED = Path(__file__).parent.parent / "saved_by_0.1.0/1_vae-latent2/checkpoints/step-00000003/config.json"


def plain(name: str) -> dict:
    """The settings of `configs/dataset/<name>.yaml`."""
    return yaml.safe_load((config_dir() / f"dataset/{name}.yaml").read_text())


@pytest.mark.parametrize("name", list(DATASETS))
def test_what_0_1_0_saved_of_each_is_read_though_it_has_the_settings_of_all(name):
    nulls = dict.fromkeys(json.loads(SAVED.read_text())["train"]["dataset"])
    assert {"emnist_split", "synthetic_shape", "root", "picture_gb"} < set(nulls)
    read = DATASETS.read({**nulls, **plain(name)})
    assert typed.to_dict(read) == plain(name)
    assert DATASETS.read(typed.to_dict(read)) == read


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [("digits", {"root": "pictures"}, "dataset.root=pictures: no such setting of dataset=digits (it has val_size, "),
     ("mnist", {"test_size": 5}, "dataset.test_size=5: no such setting of dataset=mnist"),
     ("array", {"fit": "crop"}, "dataset.fit=crop: no such setting of dataset=array"),
     ("mnist", {"val_size": None}, "dataset.val_size=null: must be a whole number"),
     ("mnist", {"split_seed": -1}, "dataset.split_seed=-1: must be a number of at least 0"),
     ("mnist", {"binarize": "treshold"}, "dataset.binarize=treshold: no such choice, did you mean 'threshold'?"),
     ("emnist", {"emnist_split": "leters"}, "dataset.emnist_split=leters: no such choice, did you mean 'letters'?"),
     ("synthetic", {"synthetic_size": None}, "dataset.synthetic_size=null: must be a whole number"),
     ("synthetic", {"synthetic_shape": [1, 8]}, "dataset.synthetic_shape=[1, 8]: give [channels, height, width]"),
     ("folder", {"root": None}, "dataset.root=null: dataset=folder needs dataset.root=<path>"),
     ("array", {"root": None}, "dataset.root=null: dataset=array needs dataset.root=<path>"),
     ("folder", {"size": "64"}, "dataset.size=64: give one side, or [height, width], from 1 to 4096"),
     ("folder", {"size": 0}, "dataset.size=0: give one side"), ("folder", {"size": True}, "dataset.size=true: give"),
     ("folder", {"size": [8, 5000]}, "dataset.size=[8, 5000]: give one side"),
     ("folder", {"scale": -1}, "dataset.scale=-1: give the value that is white"),
     ("folder", {"picture_gb": 0}, "dataset.picture_gb=0.0: must be a number above 0"),
     ("folder", {"channels": 2}, "dataset.channels=2: no such choice (choices: auto, 1, 3)"),
     ("folder", {"fit": "patches"}, "dataset.size=null: dataset.fit=patches needs the size of a patch"),
     ("folder", {"fit": "patches", "size": 8, "binarize": "dynamic"},
      "dataset.binarize=dynamic: patches are not binarized; choose another dataset.fit")],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_remedy(name, changes, says):
    with pytest.raises(ConfigError) as refused:
        DATASETS.read({**plain(name), **changes})
    assert str(refused.value).startswith(says)


def test_the_command_line_knows_each_setting_that_is_a_path():
    of = {
        kind: [one.name for one in dataclasses.fields(DATASETS[kind]) if one.metadata.get("path")]
        for kind in DATASETS
    }
    assert (of["folder"], of["array"]) == (["root", "noisy"], ["root"])
    assert {f"dataset.{name}" for names in of.values() for name in names} <= PATH_KEYS


def test_each_says_what_is_drawn_what_it_is_called_and_how_its_pictures_are_read():
    assert Mnist(val_size=7).drawn == {"val": 7}
    shapes = Synthetic(val_size=1, test_size=2, synthetic_size=10, synthetic_shape=[1, 8, 8])
    assert shapes.drawn == {"test": 2, "val": 1}
    assert (shapes.words, shapes.own_scale, shapes.own_fit) == ("synthetic", None, ("resize", 0))
    padded = own("/home/me/photos", fit="pad", background="white", scale=300, val_size=4)
    assert padded.drawn == {"test": None, "val": 4}
    assert (padded.words, padded.own_scale, padded.own_fit) == ("folder photos", 300, ("pad", 255))
    assert own("x", fit="patches", size=8).own_fit == ("resize", 0)
    assert Emnist(val_size=0, emnist_split="letters").prefixes() == ("emnist-letters-train", "emnist-letters-test")


def test_people_s_own_are_where_data_root_says_before_where_they_were(tmp_path):
    for name, value in (("old", 10), ("new", 200)):
        np.save(tmp_path / f"{name}.npy", np.full((30, 4, 4), value, np.uint8))
    kept = Array(root=str(tmp_path / "old.npy"), val_size=None, test_size=None)
    assert build_dataset(kept, None).train.pixels.unique() == 10
    assert build_dataset(kept, str(tmp_path / "new.npy")).train.pixels.unique() == 200


def test_those_that_need_no_files_are_named_where_a_download_fails():
    needless = {name for name in DATASETS if not issubclass(DATASETS[name], Official | Own)}
    assert set(NEED_NO_FILES.split(", ")) == needless
