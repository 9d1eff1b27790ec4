"""Pictures as a source: one file, a folder, or a pattern; and the names of what is written for them.

paths = utils.find_pictures("photos/*.jpg")
outputs = name_outputs(paths, "photos/*.jpg", "masks", suffix=".png")
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from pathlib import Path
from typing import Iterable

from utils import ALPHA_SUFFIXES, IMAGE_SUFFIXES, UserError, identity, refuse_inputs


def is_pictures(spec: str) -> bool:
    """Whether a source is meant as pictures: a folder, a picture file, or a pattern with *, ? or []."""
    path = Path(spec)
    if path.exists():
        return path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    return "://" not in spec and (glob.has_magic(spec) or path.suffix.lower() in IMAGE_SUFFIXES)


def name_outputs(
    pictures: list[Path], spec: str, output: str, suffix: str | None = None, others: Iterable[Path] = ()
) -> list[Path]:
    """Where the result of each picture goes.

    For a single picture `output` may be a file; otherwise it is a folder, in which names (below the pattern's
    fixed part) are kept. suffix: of the results, if it must be another than the pictures' own. others: what
    else is read. Raises UserError if a result would take the place of something that is read, or of a file
    beside the pictures that `output` does not name, or the file's format cannot hold it.
    """
    target = Path(output)
    single = pictures == [Path(spec)]
    if single and target.suffix and not target.is_dir():
        if target.suffix.lower() not in IMAGE_SUFFIXES:
            raise UserError(f"{target}: for a picture the output is a picture: {', '.join(IMAGE_SUFFIXES)}")
        if suffix and target.suffix.lower() not in ALPHA_SUFFIXES:
            raise UserError(
                f"{target}: '{target.suffix}' cannot hold this view, which has transparency or exactly two "
                "values: use .png"
            )
        results = [target]
    else:
        if target.exists() and not target.is_dir():
            raise UserError(f"{target}: for several pictures the output is a folder, and this is a file")
        base = _fixed_part(spec)
        results = [target / os.path.relpath(picture, base) for picture in pictures]
        if suffix:
            short = [result.with_suffix(suffix) for result in results]
            long = [result.with_name(result.name + suffix) for result in results]
            counts = Counter(short)
            results = [one if counts[one] == 1 else other for one, other in zip(short, long)]
            if len(set(results)) < len(results):
                results = long
    refuse_inputs(results, [*pictures, *others])
    folders = {identity(picture.parent) for picture in pictures}
    for result in results:
        if result.exists() and result != target and identity(result.parent) in folders:
            raise UserError(f"{result} is there already, beside the pictures: choose another --output")
    return results


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
