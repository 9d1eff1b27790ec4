"""What is wrong with the masks of a data set: --labels FILE.

    celeb2_10021 leave-out                      # the mask is of someone else
    lfw_Ann_Lee_0001 not-judged 120,40,180,110  # a second face: left, top, right, bottom in pixels
    web_* not-judged hull                       # eyes and glasses are left out of the masks

A name may have wildcards (*), and stand on several lines. What follows a # is a remark.
"""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path

import cv2
import numpy as np

from dataset import Pairs
from files.paths import regular_file
from utils import FACE, NOT_JUDGED, UserError

LEAVE_OUT, HULL = "leave-out", "hull"  # what a line may say, beside a region


def read_labels(path: str | os.PathLike) -> list:
    """Return (name, LEAVE_OUT, HULL or (left, top, right, bottom)) of each line; UserError for odd ones."""
    try:
        lines = regular_file(Path(path)).read_text().splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text file") from None
    labels = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        try:
            match words:
                case []:
                    continue
                case [name, "leave-out"]:
                    labels.append((name, LEAVE_OUT))
                case [name, "not-judged", "hull"]:
                    labels.append((name, HULL))
                case [name, "not-judged", text]:
                    left, top, right, bottom = (int(word) for word in text.split(","))
                    if not (0 <= left < right and 0 <= top < bottom):
                        raise ValueError
                    labels.append((name, (left, top, right, bottom)))
                case _:
                    raise ValueError
        except ValueError:
            raise UserError(
                f"{path}, line {number}: {line.strip()[:60]!r} is none of 'NAME leave-out', "
                "'NAME not-judged LEFT,TOP,RIGHT,BOTTOM' and 'NAME not-judged hull' (* for a space in a name)"
            ) from None
    return labels


class Relabelled(Pairs):
    """The given pairs, with what `labels` say not judged; those at the indices `left_out` are still there.

    Raises UserError for a name that no picture has.
    """

    def __init__(self, pairs: Pairs, labels: list):
        self.pairs, self.names = pairs, pairs.names
        self.changes: dict = {}
        for pattern, change in labels:
            plain = pattern.replace("[", "[[]").replace("?", "[?]")  # only * is a wildcard
            names = fnmatch.filter(pairs.names, plain)
            if not names:
                raise UserError(f"--labels names {pattern}, and no training picture has that name")
            for name in names:
                self.changes.setdefault(name, []).append(change)
        unwanted = {name for name, changes in self.changes.items() if LEAVE_OUT in changes}
        self.left_out = [index for index, name in enumerate(pairs.names) if name in unwanted]

    def __getitem__(self, index: int) -> tuple:
        image, mask = self.pairs[index]
        for change in self.changes.get(self.names[index], ()):
            mask = mask.copy()
            if change == HULL:
                mask[in_hull(mask) & (mask != FACE)] = NOT_JUDGED
            elif change != LEAVE_OUT:
                left, top, right, bottom = change
                mask[top:bottom, left:right] = NOT_JUDGED
        return image, mask


def in_hull(mask: np.ndarray) -> np.ndarray:
    """Return where the convex hulls of the mask's faces are, HxW bool. Parts that are near are one face."""
    face = (mask == FACE).astype(np.uint8)
    reach = max(min(cv2.boundingRect(face)[2:]) // 20, 1)
    joined = cv2.morphologyEx(face, cv2.MORPH_CLOSE, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    outlines, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(face)
    for outline in outlines:
        cv2.fillConvexPoly(filled, cv2.convexHull(outline), 1)
    return filled > 0
