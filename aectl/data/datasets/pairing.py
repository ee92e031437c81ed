"""The files that images are made of: the pictures of one folder, or those of two in pairs, by their names."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from aectl.data.datasets.filling import Files
from aectl.errors import ConfigError, brief
from aectl.files import listing
from aectl.files.listing import Entry, Listing
from aectl.files.partners import partners


@dataclass(frozen=True)
class Source:
    """What lies in the folders of a data set.

    Attributes:
        roots: the folder, or that of the clean pictures and that of the noisy ones.
        images: the file of each, or the two of each pair.
        words: what they are, and where, after their number.
        alone: name and reason of each picture that belongs to a pair and has no partner.
        notes: what else there is to say, in lines.
    """

    roots: list[Path]
    images: list[Files]
    words: str
    alone: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def singles(root: Path) -> Source:
    """Every picture in a folder or a zip.

    Raises:
        DataError: there is none.
    """
    listed = listing.below(root)
    images = [(entry,) for entry in listed.entries]
    return Source([root], images, f"pictures in {brief(root, 200)}", notes=_passed_over([listed]))


def pairs(root: Path, noisy: Path) -> Source:
    """Every clean picture in `root` with the noisy one in `noisy` that has its name; see `partners`.

    Raises:
        ConfigError: they are the same.
        DataError: one of them has no picture.
    """
    listed = [listing.below(root), listing.below(noisy, "dataset.noisy")]
    if noisy.samefile(root):
        raise ConfigError(f"dataset.noisy={noisy}: is dataset.root itself; give the folder of the noisy pictures")
    clean, others = (one.entries for one in listed)
    images, alone = [], []
    for entry, found in zip(clean, partners(clean, others), strict=True):
        if isinstance(found, Entry):
            images.append((entry, found))
        else:
            alone.append((entry.name, entry.problem or f"has no noisy picture in dataset.noisy={noisy}: {found}"))
    taken = {id(partner) for _, partner in images}
    alone += [
        (entry.name, entry.problem or f"is in dataset.noisy={noisy}, and dataset.root={root} has no picture for it")
        for entry in others
        if id(entry) not in taken
    ]
    words = f"pairs, the clean pictures in {brief(root, 200)}, the noisy ones in {brief(noisy, 200)}"
    return Source([root, noisy], images, words, alone, [*_other_suffixes(images), *_passed_over(listed)])


def _other_suffixes(images: Iterable[Files]) -> list[str]:
    differing = [files for files in images if files[0].name != files[1].name]
    if not differing:
        return []
    such = " with ".join(entry.name for entry in differing[0])
    return [f"paired though their suffixes differ: {len(differing)}, such as {brief(such, 200)}"]


def _passed_over(listed: Iterable[Listing]) -> list[str]:
    return [f"passed over: {one.rest()}" for one in listed if one.rest()]
