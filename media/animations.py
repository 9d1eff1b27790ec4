"""Pictures that move, or pages, in one picture file, as a source and to write; and numbered pictures.

source = Animation(Path("a.gif"))
writer = AnimationWriter("b.gif")       # or PictureFolder("folder")
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import cv2
import numpy as np

from files.pictures import on_black, picture_of, to_pixels, write_image, write_images
from media.frames import Source
from media.mux import beside
from media.views import to_rgb

PAGE_SECONDS = 1.0  # for pages, and for pictures that do not say how long they are shown


class Animation(Source):
    """Every picture of a GIF, WebP, PNG or TIFF."""

    def __init__(self, path: Path, stride: int = 1):
        self.path = path
        with picture_of(path) as picture:
            self.expected = -(-picture.n_frames // stride)
            rate = 1 / seconds_of(picture)
        super().__init__(str(path), rate / stride, stride)

    def _pictures(self) -> Iterator[tuple[np.ndarray, float, float]]:
        at = 0.0
        with picture_of(self.path) as picture:
            for number in range(picture.n_frames):
                picture.seek(number)
                pixels = on_black(to_pixels(picture))
                until = at + seconds_of(picture)  # known only when it was decoded
                yield pixels, at, until
                at = until

    def image(self, picture: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)

    def close(self) -> None:
        self.pictures.close()


def seconds_of(picture) -> float:
    """Return how long the present picture of an opened file is shown."""
    return (picture.info.get("duration") or 1000 * PAGE_SECONDS) / 1000


class AnimationWriter:
    """All pictures into one file, which is written at the end."""

    def __init__(self, path: str | Path):
        self.path = self.result = Path(path)
        self.images, self.seconds = [], []

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """picture: any view's. at, until: the seconds between which it is shown."""
        self.images.append(to_rgb(picture))
        self.seconds.append(until - at)

    def close(self, whole: bool = True) -> None:
        """Raises UserError if the format cannot hold them; OSError if they cannot be written."""
        if not whole and self.path.exists():
            self.result = beside(self.path)
        if self.images:
            write_images(self.result, self.images, self.seconds)


class PictureFolder:
    """Each picture into a file of its own: 000001.png, 000002.png and so on."""

    def __init__(self, folder: str | Path):
        self.result, self.count = Path(folder), 0

    def write(self, picture: np.ndarray, at: float, until: float) -> None:
        """picture: any view's. Raises OSError if it cannot be written."""
        self.count += 1
        write_image(self.result / f"{self.count:06d}.png", to_rgb(picture))

    def close(self, whole: bool = True) -> None:
        """Nothing is open."""
