"""Which files are to be done, and where the result of each goes.

    jobs, left_out = find_jobs("photos/", recursive=True)
    jobs = name_outputs(jobs, "photos/", "masked/", parse_view("overlay"))

plan.py makes of it what a run needs.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from files.paths import identity, regular_file
from files.pictures import ALPHA_SUFFIXES, ANIMATED, ANIMATED_SUFFIXES, IMAGE_SUFFIXES, WRITTEN, open_picture
from media.sources import camera_index, is_stream
from media.videos import open_file
from media.views import View
from media.writers import FORMATS, TRANSPARENT
from utils import UserError

OTHERS = (".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".3gp", ".wmv", ".flv", ".ogv", ".mxf", ".vob")
VIDEO_SUFFIXES = (*FORMATS, *OTHERS)
PICTURE, ANIMATION, VIDEO, LIVE = "picture", "animation", "video", "live"
UNREADABLE = "folder that you may not read"


class Job(NamedTuple):
    """One source, and where its result goes."""

    source: Path | str | None  # for LIVE as it was given: a camera, an address, the sample, None
    kind: str  # PICTURE, ANIMATION, VIDEO or LIVE
    output: Path | str | None = None  # an address, or standard output, as it was given

    def is_numbered(self, view: View) -> bool:
        """Return whether the result is a folder of numbered pictures."""
        if not (view.transparent and isinstance(self.output, Path)) or self.kind == PICTURE:
            return False
        return not self.output.suffix or self.output.is_dir()


def is_files(spec: str | None) -> bool:
    """Return whether a source means files: one, a folder, or a pattern with *, ? or []."""
    return not (spec in (None, "sample", "-") or is_stream(spec) or camera_index(spec) is not None)


def find_jobs(spec: str, recursive: bool = False, leave: Path | None = None) -> tuple[list[Job], Counter]:
    """Return what is to be done, sorted by name, and how many files of which kinds are left out.

    recursive: folders in folders too. leave: a folder that is skipped. Hidden files are not meant.
    Raises UserError if there is nothing, or a single file is neither a picture nor a video.
    """
    path = Path(spec)
    is_folder = path.is_dir()
    if not is_folder and (path.exists() or not glob.has_magic(spec)):
        regular_file(path)
        return [Job(path, kind_of(path) or VIDEO)], Counter()  # opening it says what is wrong
    try:
        paths = list(path.iterdir() if is_folder else map(Path, glob.iglob(spec, recursive=True)))
    except RecursionError:
        raise UserError(f"{spec}: the folders are nested too deep for a pattern: use --recursive") from None
    leave = leave and Path(os.path.realpath(leave))
    inside = leave and Path(os.path.realpath(_fixed_part(spec))) in leave.parents
    jobs, left_out = [], Counter()
    while paths:
        path = paths.pop()
        real = Path(os.path.realpath(path)) if inside or path.is_symlink() else path
        if path.name.startswith(".") or (inside and leave in (real, *real.parents)):
            continue
        if path.is_dir():
            if path.is_symlink() and real in (Path(os.path.realpath(parent)) for parent in path.parents):
                continue  # round and round
            if recursive and os.access(path, os.R_OK | os.X_OK):
                paths += path.iterdir()
            elif recursive:
                left_out[UNREADABLE] += 1
            elif is_folder:
                left_out["folder"] += 1
        elif kind := kind_of(path):
            jobs.append(Job(path, kind))
        else:
            left_out[path.suffix.lower() or "without a suffix"] += 1
    if not jobs:
        more = f" ({list_counts(left_out)})" if left_out else ""
        raise UserError(f"{spec}: there is no picture and no video in it{more}")
    return sorted(jobs), left_out


def kind_of(path: Path) -> str | None:
    """Return what a file is by its content, or, where that does not say, by its name; None for others."""
    suffix = path.suffix.lower()
    if not path.is_file():
        return None
    if suffix in VIDEO_SUFFIXES:
        return VIDEO
    with contextlib.suppress(Exception), open_picture(path) as picture:  # Pillow raises almost anything
        return ANIMATION if picture.format in ANIMATED and getattr(picture, "n_frames", 1) > 1 else PICTURE
    if suffix in IMAGE_SUFFIXES:
        return PICTURE
    with contextlib.suppress(UserError):
        open_file(path).close()
        return VIDEO
    return None


def list_counts(counts: Counter) -> str:
    """Return '3 .txt, 1 folder'."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))


def name_outputs(jobs: list[Job], spec: str, output: str, view: View) -> list[Job]:
    """Return the jobs with the place for the result of each.

    A single file may have a file for `output`; otherwise it is a folder, in which names (below the pattern's
    fixed part) are kept. Raises UserError if a result would take the place of a file beside its source that
    `output` does not name, or its format cannot hold the view.
    """
    target = Path(output)
    alone = len(jobs) == 1 and jobs[0].source == Path(spec)
    if alone and target.suffix and not target.is_dir():
        held, suffix = ALPHA_SUFFIXES if view.exact else WRITTEN, target.suffix.lower()
        if jobs[0].kind == PICTURE and suffix not in held:
            raise UserError(f"{target}: '{suffix}' cannot hold a picture in this view: use {', '.join(held)}")
        results = [target]
    elif alone and jobs[0].kind != PICTURE and view.transparent:
        results = [target]  # numbered pictures
    else:
        results = _named_alike(jobs, _fixed_part(spec), target, view)
    named = [job._replace(output=result) for job, result in zip(jobs, results, strict=True)]
    sources = {identity(job.source) for job in jobs}
    folders = {identity(job.source.parent) for job in jobs}
    for result in results:
        beside = result != target and result.is_file() and identity(result.parent) in folders
        if beside and identity(result) not in sources:
            raise UserError(f"{result} is there already, beside the source: choose another --output")
    return named


def _named_alike(jobs: list[Job], base: Path, folder: Path, view: View) -> list[Path]:
    """Return for each job its name below `base` in the folder: another suffix takes the place of its own, or,
    where that would make two results one, comes after it, as after the name of a file that is unfinished:
    another result has that name while it is written.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: for several files the output is a folder, and this is a file")
    ways = []
    for job in jobs:
        plain, suffix = folder / os.path.relpath(job.source, base), _suffix(job, view)
        long = plain.with_name(plain.name + suffix)
        ways.append((plain, long if ".unfinished" in plain.stem else plain.with_suffix(suffix), long))
    counts = Counter(str(short).lower() for _, short, _ in ways)  # to some file systems a.png is a.PNG
    results = [
        long if short != plain and counts[str(short).lower()] > 1 else short for plain, short, long in ways
    ]
    return results if len(set(results)) == len(results) else [long for *_, long in ways]


def _suffix(job: Job, view: View) -> str:
    """Return the suffix of a result in a folder: the source's own where that can hold it."""
    if job.kind == PICTURE:
        holds, other = ALPHA_SUFFIXES[:1] if view.exact else WRITTEN, ".png"
    elif job.kind == ANIMATION and job.source.suffix.lower() in ANIMATED_SUFFIXES:
        return job.source.suffix
    else:
        holds, other = (TRANSPARENT, ".webm") if view.transparent else (FORMATS, ".mp4")
    return job.source.suffix if job.source.suffix.lower() in holds else other


def _fixed_part(spec: str) -> Path:
    """Return the folder before the first part with a wildcard; of a folder itself, of a file its folder."""
    path = Path(spec)
    while not path.is_dir():
        path = path.parent
    return path
