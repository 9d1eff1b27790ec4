"""A table of the faces of videos and pictures: a row for each face and frame.

    with FaceTable("faces.csv") as table:
        table.add("clip.mp4", frame, mask, threshold=0.5)

Columns: file, frame (its number), time (seconds), track (the same number for the same face), left, top,
right and bottom of its box (pixels, right and bottom outside), confidence (0..1), area (pixels of its mask),
and the mean red, green and blue inside it (sRGB as decoded, 0..255), empty where none is seen.
"""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from faces.mask import Mask
from files.paths import target_of
from media.frames import Frame
from media.writers import create_unfinished, named_errors, unfinished_path
from utils import log

COLUMNS = "file frame time track left top right bottom confidence area red green blue"


class FaceTable:
    """A CSV file. Until it is closed it has another name, as a video that is not finished."""

    def __init__(self, path: str | Path):
        """Raises UserError or OSError if it cannot be written."""
        self.finished = True  # whether no source was cut off
        with named_errors(path):
            self.path, self.unfinished = target_of(path), unfinished_path(path)
            self.lock = create_unfinished(self.unfinished)
        self.file = self.unfinished.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        self.rows = csv.writer(self.file)
        self.rows.writerow(COLUMNS.split())

    def __enter__(self) -> FaceTable:
        return self

    def __exit__(self, error: type | None, *more) -> None:
        """Give it its name, if no source was cut off."""
        self.file.close()
        if self.finished and error is None:
            self.unfinished.replace(self.path)
        else:
            log.info("%s is not finished: what there is of it is in %s", self.path, self.unfinished)
        if self.lock is not None:
            os.close(self.lock)  # not before the file has its name

    def append(self, path: Path) -> None:
        """Add the rows of another table's file."""
        with path.open(newline="", encoding="utf-8") as file:
            file.readline()
            shutil.copyfileobj(file, self.file)

    def add(self, name: str, frame: Frame, mask: Mask, threshold: float) -> None:
        """frame: as it was decoded, before a view draws into it."""
        for face in mask.faces:
            inside = (face.mask > threshold * 255).astype(np.uint8)
            pixels = frame.image[face.region.rows, face.region.columns]
            bgr = cv2.mean(pixels, inside)[:3] if inside.any() else ()  # black would be a measurement
            row = [name, frame.index, f"{frame.at:.6f}", face.track, *face.box, f"{face.confidence:.4f}"]
            colors = [f"{value:.4f}" for value in reversed(bgr)] or [""] * 3
            self.rows.writerow([*row, face.area(threshold), *colors])
