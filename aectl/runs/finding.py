"""From what people type to a run or a sweep: a path, `latest`, a name, or a part of its folder's name. No torch.

A run below `outputs/train` is called by its folder, the job of a sweep by both folders: `38fda8/0_vae-latent2`.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aectl import storage
from aectl.errors import CheckpointError, ConfigError, DataError, UserError
from aectl.runs import layout, papers, schema
from aectl.runs.layout import OUTPUTS
from aectl.settings.ranges import nearest

LATEST = "latest"
SHORTEST = 4  # letters of an id
SHOWN = 6  # candidates in a message

Places = Mapping[str, Path]  # folders by what they are called


def runs() -> dict[str, Path]:
    """The runs below `outputs/train` of this folder."""
    return {path.name: path for path in _folders(OUTPUTS / "train") if is_run(path)}


def sweeps() -> dict[str, Path]:
    """The sweeps below `outputs/multirun` of this folder that train."""
    return {path.name: path for path in _folders(OUTPUTS / "multirun") if any(trained_in(path))}


def jobs() -> dict[str, Path]:
    """The runs that are jobs of these sweeps."""
    return {f"{name}/{where}": job for name, path in sweeps().items() for where, job in _runs_in(path).items()}


def _runs_in(folder: Path) -> dict[str, Path]:
    """The runs that are jobs of a sweep, by their folders from the sweep's on."""
    return {job.relative_to(folder).as_posix(): job for job in trained_in(folder) if is_run(job)}


def is_run(folder: Path) -> bool:
    """Whether there is anything of a training run in a folder."""
    with contextlib.suppress(OSError):  # a folder that cannot be read
        return any((folder / name).exists() for name in ("checkpoints", layout.CONFIG, layout.LOCK))
    return False


def trained_in(folder: Path) -> Iterator[Path]:
    """The jobs of a sweep that have begun to train, or have failed before; those of other commands are none."""
    try:
        yield from (job for job in layout.jobs_of(folder) if is_run(job) or (job / layout.RESULT).is_file())
    except OSError:  # a folder that cannot be read
        return


def _folders(parent: Path) -> list[Path]:
    try:
        return [path for path in parent.iterdir() if path.is_dir()]
    except OSError:
        return []


def name_of_run(run_dir: Path) -> str:
    """What `name=` has called a run; empty where nothing has."""
    return name_in(papers.read_settings(run_dir))


def name_in(settings: Mapping[str, Any]) -> str:
    """What a run's configuration says that it is called; empty where it says nothing."""
    name = settings.get("name")
    return name if isinstance(name, str) and schema.NAME.fullmatch(name) else ""


def name_of_sweep(folder: Path) -> str:
    """What `name=` has called a sweep: what all of its jobs are called, and its folder."""
    name = next(map(name_of_run, trained_in(folder)), "")
    return name if name in folder.name else ""


def ids() -> dict[Path, str]:
    """For every run, job and sweep what is short and means it alone: its end from a dash or underscore on, else all.

    Nothing else ends so, and no name is the same. A job has its sweep's before its own folder.
    """
    folders = [*runs().values(), *sweeps().values()]
    taken = names()

    def short(call: str) -> str:
        for separator in reversed(list(re.finditer("[-_]", call))):
            end = call[separator.end() :]
            if len(end) >= SHORTEST and end not in taken and sum(one.name.endswith(end) for one in folders) == 1:
                return end
        return call

    found = {path: short(path.name) for path in folders}
    short_of_jobs = {
        job: f"{found[path]}/{where}" for path in sweeps().values() for where, job in _runs_in(path).items()
    }
    return found | short_of_jobs


def names() -> set[str]:
    """What `name=` has called any run or sweep."""
    found = {*map(name_of_run, runs().values()), *map(name_of_sweep, sweeps().values())}
    return found - {""}


def locate(word: str, key: str = "run") -> Path | None:
    """The folder of the run that `word` means: a run folder or one of its checkpoints, `latest`, or a name.

    A name is that of its folder, what `name=` has called it, the end of its folder's name or a part, in this order;
    it means a job of a sweep where it means no other run. `latest` is the run below `outputs/` with the newest
    checkpoint. None where there is no such run.

    Raises:
        ConfigError: there are several; the line lists them. `key` is the setting.
    """
    if word == LATEST:
        places = [*_folders(OUTPUTS / "train"), *(job for _, job in _jobs())]
        newest = _newest(path for place in places for path in layout.checkpoints_seen(place))
        return layout.run_of(newest) if newest else None
    path = layout.run_of(storage.expanded(word))
    return path if path.is_dir() else _only(word, key, runs(), name_of_run) or _only(word, key, jobs(), name_of_run)


def run(word: str, key: str = "run") -> Path:
    """`locate` where there has to be a run.

    Raises:
        CheckpointError: there is none.
        ConfigError: there are several.
    """
    if (found := locate(word, key)) is not None:
        return found
    raise CheckpointError(f"{key}={word}: {_missing(word, 'run', 'train one (aectl train)', runs())}")


def sweep(word: str, key: str, newest_by: str, error: type[UserError] = DataError) -> Path:
    """The folder of the sweep that `word` means, as `locate` has it.

    `latest` is that with the newest `newest_by` of a job: checkpoints/step-*, or a file's name.

    Raises:
        ConfigError: there are several.
        error: there is none.
    """
    if word == LATEST:
        of = {path: folder for folder, job in _jobs() for path in _those(job, newest_by)}
        newest = _newest(of)
        found = of[newest] if newest else None
    else:
        path = storage.expanded(word)
        found = path if path.is_dir() else _only(word, key, sweeps(), name_of_sweep)
    if found is None:
        raise error(f"{key}={word}: {_missing(word, 'sweep', 'make one (aectl train -m ...)', sweeps())}")
    return found


def _jobs() -> Iterator[tuple[Path, Path]]:
    """Each sweep below `outputs/multirun` of this folder with the folder of each of its jobs."""
    for folder in _folders(OUTPUTS / "multirun"):
        with contextlib.suppress(OSError):  # a folder that cannot be read
            yield from ((folder, job) for job in layout.jobs_of(folder))


def _those(job: Path, pattern: str) -> list[Path]:
    """What a job has of these: its checkpoints, never behind a stranger's link, or one file."""
    if pattern.startswith("checkpoints/"):
        return layout.checkpoints_seen(job)
    return [path] if (path := job / pattern).is_file() else []


def _newest(paths: Iterable[Path]) -> Path | None:
    return max(paths, key=time_of, default=None)


def time_of(path: Path) -> float:
    """When a file or folder last changed, in seconds since 1970; 0 where it is gone, as a run in training has it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def changed(folder: Path) -> float:
    """When a run, or a job of a sweep, got its newest checkpoint, in seconds since 1970; else when it was begun."""
    times = map(time_of, layout.checkpoints_seen(folder)) if is_run(folder) else map(changed, trained_in(folder))
    return max(times, default=time_of(folder))


def _only(word: str, key: str, places: Places, name_of: Callable[[Path], str]) -> Path | None:
    """The one of `places` that `word` means, by the first of four ways in which it means any."""
    word = word.rstrip("/")
    ways: tuple[Callable[[str], bool], ...] = (
        lambda call: call == word,
        lambda call: name_of(places[call]) == word,
        lambda call: call.endswith(word),
        lambda call: word in call,
    )
    found = next((some for way in ways if (some := [call for call in places if way(call)])), [])
    if len(found) > 1:
        short = ids()
        newest = [short[path] for path in sorted(map(places.__getitem__, found), key=changed, reverse=True)]
        shown = ", ".join([*newest[:SHOWN], *(["..."] if len(found) > SHOWN else [])])
        raise ConfigError(f"{key}={word}: means {len(found)} of them, newest first: {shown}; give one (aectl runs)")
    return places[found[0]] if found else None


def _missing(word: str, what: str, remedy: str, places: Places) -> str:
    """That there is no such run or sweep, with those that are called nearly so."""
    if not places or word == LATEST:
        here = f"no {what}" if word == LATEST else f"no {what} there, nor any"
        return f"{here} below outputs/ of this folder; {remedy} or give its folder"
    short = ids()
    near = nearest(word, [*names(), *(short[path] for path in places.values())], 3)
    return f"no {what} there, and none below outputs/ of this folder is called so{near} (aectl runs lists them)"
