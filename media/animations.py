"""Pictures as outputs: all in one file, or numbered files in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from files.paths import create_made_up
from files.pictures import write_image
from media.mux import unfinished_path
from media.views import to_rgb
from media.writers import Writer
from utils import UserError

MOST_PIXELS = 130_000_000  # of an animation, which is in memory until it is written: up to 1.5 GB for PNG


class AnimationWriter(Writer):
    """All pictures into one file, which is written at the end."""

    def __init__(self, path: str | Path, expected: int = 0):
        """expected: how many pictures will come, as far as it is known."""
        self.path = self.result = Path(path)
        self.expected = expected
        self.images, self.seconds = [], []

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """Keep a picture. Raises UserError if all of them are too large."""
        height, width = picture.shape[:2]
        count = max(self.expected, len(self.images) + 1)
        if count * height * width > MOST_PIXELS:
            raise UserError(
                f"{self.path}: {count} pictures of {width}x{height} are too large for an animation: "
                "write a video (.mp4, .webm), or take fewer with --stride or --max-frames"
            )
        self.images.append(to_rgb(picture, ""))  # of 8 bits
        self.seconds.append(until - at)

    def close(self, finished: bool = True) -> None:
        """Write all pictures. Raises UserError if the format cannot hold them, OSError if the disk cannot."""
        if not finished and self.images:
            self.result = unfinished_path(self.path)
            create_made_up(self.result)
            self.result.unlink()  # nothing of somebody else's has that name
        if self.images:
            write_image(self.result, *self.images, seconds=self.seconds)


class PictureFolder(Writer):
    """Each picture into a file of its own: 000001.png, 000002.png and so on."""

    def __init__(self, folder: str | Path):
        self.path = self.result = Path(folder)
        self.count = 0

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        self.count += 1
        write_image(self.result / f"{self.count:06d}.png", to_rgb(picture))
