"""What is wrong with the labels of a data set, and what the training does about it: --labels FILE.

    celeb2_10021 leave-out                      # the mask is of someone else
    lfw_Ann_Lee_0001 not-judged 120,40,180,110  # a second face: left, top, right, bottom in pixels

A name may stand on several lines. What follows a # is a remark.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from files.paths import regular_file
from utils import NOT_JUDGED, UserError


def read_labels(path: str | os.PathLike) -> dict:
    """Return {name: list of (left, top, right, bottom)}; None instead of a list: leave the picture out.

    Raises UserError, with its number, for a line that is not understood.
    """
    labels: dict = {}
    try:
        lines = regular_file(Path(path)).read_text().splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text file") from None
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        try:
            match words:
                case []:
                    continue
                case [name, "leave-out"]:
                    labels[name] = None
                case [name, "not-judged", text]:
                    left, top, right, bottom = (int(word) for word in text.split(","))
                    if not (0 <= left < right and 0 <= top < bottom):
                        raise ValueError
                    regions = labels.setdefault(name, [])
                    if regions is not None:
                        regions.append((left, top, right, bottom))
                case _:
                    raise ValueError
        except ValueError:
            raise UserError(
                f"{path}, line {number}: {line.strip()[:60]!r} is neither 'NAME leave-out' nor "
                "'NAME not-judged LEFT,TOP,RIGHT,BOTTOM'"
            ) from None
    return labels


class Relabelled:
    """The given pairs, with the regions of `labels` not judged. Raises UserError for a name that none has."""

    def __init__(self, pairs, labels: dict):
        self.pairs, self.names = pairs, pairs.names
        unknown = sorted(labels.keys() - set(pairs.names))
        if unknown:
            raise UserError(f"--labels names {unknown[0]}, and no training picture has that name")
        self.regions = [labels.get(name, ()) for name in pairs.names]
        self.left_out = np.flatnonzero([regions is None for regions in self.regions])

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple:
        image, mask = self.pairs[index]
        if self.regions[index]:
            mask = mask.copy()
            for left, top, right, bottom in self.regions[index]:
                mask[top:bottom, left:right] = NOT_JUDGED
        return image, mask
