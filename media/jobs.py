"""Which files, cameras and addresses a source means: the jobs of a run, still without their outputs.

jobs, left_out = find_jobs("photos/", recursive=True)
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from files.paths import regular_file
from files.pictures import ANIMATED, IMAGE_SUFFIXES, open_picture
from media.sources import camera_index, is_stream
from media.videos import open_file
from media.views import View
from media.writers import FORMATS
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
    address: str = ""  # of the picture that is in a file of ours, without a password

    @property
    def name(self) -> str:
        """What messages and tables call the source of a job that is not LIVE."""
        return self.address or str(self.source)

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
        locked = set() if is_folder else locked_folders(spec)
        paths = [*(path.iterdir() if is_folder else map(Path, glob.iglob(spec, recursive=True))), *locked]
    except RecursionError:
        raise UserError(f"{spec}: the folders are nested too deep for a pattern: use --recursive") from None
    leave = leave and Path(os.path.realpath(leave))
    inside = leave and Path(os.path.realpath(fixed_part(spec))) in leave.parents
    jobs, left_out, seen, shut = [], Counter(), set(), set()
    while paths:
        path = paths.pop()
        if path in seen:  # some patterns match a file twice
            continue
        seen.add(path)
        real = Path(os.path.realpath(path)) if inside or os.path.islink(path) else path
        if path.name.startswith(".") or (inside and leave in (real, *real.parents)):
            continue
        try:
            is_inner = path.is_dir()
        except PermissionError:  # of a link into a folder, or a name in one, that may not be entered
            shut.add(os.path.dirname(os.path.realpath(path)))
            continue
        if is_inner:
            if path.is_symlink() and real in (Path(os.path.realpath(parent)) for parent in path.parents):
                continue  # round and round
            if recursive and os.access(path, os.R_OK | os.X_OK):
                paths += path.iterdir()
            elif recursive or path in locked:
                shut.add(os.path.realpath(path))
            elif is_folder:
                left_out["folder"] += 1
        elif kind := kind_of(path):
            jobs.append(Job(path, kind))
        else:
            left_out[path.suffix.lower() or "without a suffix"] += 1
    if shut:
        left_out[UNREADABLE] = len(shut)
    if not jobs:
        more = f" ({list_counts(left_out)})" if left_out else ""
        raise UserError(f"{spec}: there is no picture and no video in it{more}")
    return sorted(jobs), left_out


def locked_folders(pattern: str) -> set[Path]:
    """Return the folders that a pattern leads into and that you may not read: glob says nothing of them."""
    parts = Path(pattern).parts
    ways = [Path(*parts[:count]) for count in range(1, len(parts) + (parts[-1] == "**"))]
    ways = [f"{way}/" for way in ways if glob.has_magic(str(way))]
    found = [path for way in ways for path in glob.iglob(way, recursive=True)]
    return {Path(path) for path in found if not os.access(path, os.R_OK | os.X_OK)}


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


def fixed_part(spec: str) -> Path:
    """Return the folder before the first part with a wildcard; of a folder itself, of a file its folder."""
    path = Path(spec)
    while not path.is_dir():
        path = path.parent
    return path
