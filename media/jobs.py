"""Which files are to be done, and where the result of each goes.

jobs, left_out = find_jobs("photos/", recursive=True)
jobs = name_outputs(jobs, "photos/", "masked/", view="overlay")
"""

from __future__ import annotations

import contextlib
import glob
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Iterable, NamedTuple

from files.paths import identity, refuse_inputs, regular_file
from files.pictures import (
    ALPHA_SUFFIXES,
    ANIMATED_SUFFIXES,
    IMAGE_SUFFIXES,
    WRITTEN,
    is_animation,
    open_picture,
)
from media.sources import camera_index, is_stream
from media.videos import open_file
from media.views import hides
from media.writers import FORMATS, TRANSPARENT
from utils import UserError

VIDEO_SUFFIXES = (
    *FORMATS,
    ".mpg",
    ".mpeg",
    ".ts",
    ".mts",
    ".m2ts",
    ".3gp",
    ".wmv",
    ".flv",
    ".ogv",
    ".mxf",
    ".vob",
)
PICTURE, ANIMATION, VIDEO = "picture", "animation", "video"
EXACT = ("cutout", "mask")  # views with transparency, or with two values alone


class Job(NamedTuple):
    source: Path
    kind: str  # PICTURE, ANIMATION or VIDEO
    output: Path | None = None


def is_files(spec: str | None) -> bool:
    """Whether a source means files: one, a folder, or a pattern with *, ? or []."""
    return not (spec is None or spec == "sample" or is_stream(spec) or camera_index(spec) is not None)


def find_jobs(spec: str, recursive: bool = False, leave: Path | None = None) -> tuple[list[Job], Counter]:
    """Return what is to be done, sorted by name, and how many files of which kinds are left out.

    recursive: folders in folders too. leave: a folder that is not looked at. Hidden files are not meant.
    Raises UserError if there is nothing, or a single file is neither a picture nor a video.
    """
    path = Path(spec)
    if not path.is_dir() and (path.exists() or not glob.has_magic(spec)):
        regular_file(path)
        return [Job(path, kind_of(path) or VIDEO)], Counter()  # opening it says what is wrong
    found = (
        [Path(name) for name in glob.glob(spec, recursive=True)]
        if not path.is_dir()
        else list(path.iterdir())
    )
    jobs, left_out = [], Counter()
    while found:
        path = found.pop()
        if path.name.startswith(".") or path == leave:
            continue
        if path.is_dir():
            if recursive:
                found += path.iterdir()
            elif Path(spec).is_dir():
                left_out["folder"] += 1
        elif kind := kind_of(path):
            jobs.append(Job(path, kind))
        else:
            left_out[path.suffix.lower() or "without a suffix"] += 1
    if not jobs:
        raise UserError(
            f"{spec}: there is no picture and no video in it" + (f" ({told(left_out)})" if left_out else "")
        )
    return sorted(jobs), left_out


def kind_of(path: Path) -> str | None:
    """Return what a file is by what is in it, or, where that cannot be told, by its name."""
    suffix = path.suffix.lower()
    if not path.is_file():
        return None
    if suffix not in VIDEO_SUFFIXES:
        with contextlib.suppress(Exception), open_picture(path):  # Pillow raises almost anything
            return ANIMATION if is_animation(path) else PICTURE
        if suffix in IMAGE_SUFFIXES:
            return PICTURE
        with contextlib.suppress(UserError):
            open_file(path).close()
            return VIDEO
        return None
    return VIDEO


def told(left_out: Counter) -> str:
    """Return '3 .txt, 1 folder'."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))


def name_outputs(
    jobs: list[Job], spec: str, output: str, view: str, others: Iterable[Path] = ()
) -> list[Job]:
    """Return the jobs with the place for the result of each.

    A single file may have a file for `output`; otherwise it is a folder, in which names (below the pattern's
    fixed part) are kept. others: what else is read. Raises UserError if a result would take the place of what
    is read, or of a file beside it that `output` does not name, or its format cannot hold the view.
    """
    target = Path(output)
    if len(jobs) == 1 and jobs[0].source == Path(spec) and target.suffix and not target.is_dir():
        _check_format(jobs[0], target, view)
        results = [target]
    elif len(jobs) == 1 and jobs[0].source == Path(spec) and jobs[0].kind != PICTURE and view == "cutout":
        results = [target]  # numbered pictures
    else:
        if target.exists() and not target.is_dir():
            raise UserError(f"{target}: for several files the output is a folder, and this is a file")
        base = _fixed_part(spec)
        plain = [target / os.path.relpath(job.source, base) for job in jobs]
        results = [path.with_suffix(_suffix(job, view)) for path, job in zip(plain, jobs)]
        # Some file systems take a.png and a.PNG for one.
        counts = Counter(str(path).lower() for path in results)
        long = [path.with_name(path.name + _suffix(job, view)) for path, job in zip(plain, jobs)]
        for place, (one, same) in enumerate(zip(results, plain)):
            if counts[str(one).lower()] > 1 and one != same:
                results[place] = long[place]
        if len(set(results)) < len(results):
            results = long
    refuse_inputs(results, [*(job.source for job in jobs), *others])
    folders = {identity(job.source.parent) for job in jobs}
    for result in results:
        if result.is_file() and result != target and identity(result.parent) in folders:
            raise UserError(f"{result} is there already, beside the source: choose another --output")
    return [job._replace(output=result) for job, result in zip(jobs, results)]


def _suffix(job: Job, view: str) -> str:
    """Return the suffix of a result in a folder: the source's own where that can hold it."""
    suffix = job.source.suffix.lower()
    if job.kind == PICTURE:
        return job.source.suffix if suffix in (ALPHA_SUFFIXES[:1] if view in EXACT else WRITTEN) else ".png"
    if job.kind == ANIMATION and suffix in ANIMATED_SUFFIXES:
        return job.source.suffix
    if view == "cutout":
        return job.source.suffix if suffix in TRANSPARENT else ".webm"
    return job.source.suffix if suffix in FORMATS else ".mp4"


def _check_format(job: Job, target: Path, view: str) -> None:
    suffix = target.suffix.lower()
    if job.kind == PICTURE and suffix not in WRITTEN:
        raise UserError(f"{target}: for a picture the output is a picture: {', '.join(WRITTEN)}")
    if job.kind == PICTURE and view in EXACT and suffix not in ALPHA_SUFFIXES:
        raise UserError(
            f"{target}: '{target.suffix}' cannot hold this view, which has transparency or exactly two "
            "values: use .png"
        )


def _fixed_part(spec: str) -> Path:
    """The folder before the first part with a wildcard; of a folder itself, of a file its folder."""
    path = Path(spec)
    if path.is_dir():
        return path
    parts = path.parts[:-1]
    if not path.exists():
        wild = next((i for i, part in enumerate(path.parts) if glob.has_magic(part)), len(path.parts) - 1)
        parts = path.parts[:wild]
    return Path(*parts)


class Tally:
    """Counts what was done, and says so at the end."""

    def __init__(self, there: int, left_out: Counter):
        """there: how many results were there already."""
        self.there, self.left_out = there, left_out
        self.done = self.failed = 0
        self.status = 0
        self.faceless: list[Path] = []

    def add(self, job: Job, status: int, found: bool) -> None:
        """status: of the program, if this were all. found: whether there was a face."""
        self.status = max(self.status, status)
        self.done, self.failed = self.done + (status == 0), self.failed + (status != 0)
        if not found:
            self.faceless.append(job.source)

    def finish(self, view: str, alone: bool) -> int:
        """Print it. Returns the exit status. alone: there was one file, of which all is said."""
        if hides(view) and self.faceless:
            print(f"infer.py: no face was found in {', '.join(map(str, self.faceless))}", file=sys.stderr)
        if not alone:
            parts = [f"{self.done} done", f"{self.failed} failed"]
            parts += [f"{self.there} there already"] if self.there else []
            parts += (
                [f"{sum(self.left_out.values())} left out ({told(self.left_out)})"] if self.left_out else []
            )
            print(f"infer.py: {', '.join(parts)}", file=sys.stderr)
        # Who looks at the results must not take for hidden what was left out.
        return self.status or int(hides(view) and bool(self.left_out))
