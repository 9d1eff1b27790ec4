"""Which pictures are meant, and what the network is given. Images here are HWC uint8 RGB."""

from __future__ import annotations

import glob
from pathlib import Path

import cv2
import numpy as np

from utils.pictures import IMAGE_SUFFIXES
from utils.program import STRIDE, UserError

# The published network's normalisation: (pixel - MEAN) / STD, RGB, for pixels of 0..255.
MEAN = np.array([123.68, 116.779, 103.939], np.float32)
STD = np.array([58.393, 57.12, 57.375], np.float32)

FACE, NOT_JUDGED = 255, 128  # values of a mask; background is 0


def preprocess(image: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """What the network is given.

    image: HWC uint8 RGB. size: (height, width) to resize to first. Returns (3, H, W) float32, normalised,
    C-contiguous. Raises ValueError for an array of another shape or type.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image must be HxWx3 uint8; this one is {image.shape} {image.dtype}")
    if size is not None:
        image = resize(image, size)
    planes = np.empty((3, *image.shape[:2]), np.float32)
    for plane, channel, mean, std in zip(planes, cv2.split(image), MEAN, STD):
        np.multiply(channel, 1 / std, out=plane, dtype=np.float32)
        plane -= mean / std
    return planes


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Any array to (height, width): area averaging where it shrinks, bilinear where it grows."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    shrinks = height * width < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def check_shape(shape: tuple) -> None:
    """Raise ValueError unless this is the shape of what the network takes: (N, 3, H, W), multiples of 32."""
    if len(shape) != 4 or shape[1] != 3 or 0 in shape or shape[2] % STRIDE or shape[3] % STRIDE:
        raise ValueError(
            f"the input's shape is {tuple(shape)}; it must be (N, 3, H, W), H and W multiples of {STRIDE}"
        )


def fit_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """The (height, width) nearest to this aspect ratio that the network takes.

    The longest side becomes `long_side`; both are rounded to multiples of 32, at least 32.
    """
    if min(height, width, long_side) < 1:
        raise ValueError(f"sides must be at least 1: {height}x{width} to {long_side}")
    scale = long_side / max(height, width)
    return tuple(max(1, int(side * scale / STRIDE + 0.5)) * STRIDE for side in (height, width))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logits to probabilities, float32, without overflow."""
    # Beyond +-30 float32 gives exactly 1 or a vanishing probability, so that clipping changes nothing.
    return 1 / (1 + np.exp(-np.clip(np.asarray(logits, np.float32), -30, 30)))


def find_pictures(spec: str) -> list[Path]:
    """Return the picture files that a file, folder or pattern names, sorted. Raises UserError."""
    path = Path(spec)
    if path.is_dir():
        found = picture_files(path)
    elif path.exists() or not glob.has_magic(spec):
        found = [path]
    else:
        found = map(Path, glob.iglob(spec, recursive=True))
    pictures = sorted(p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and not p.is_dir())
    if not (path.exists() or glob.has_magic(spec)):
        raise UserError(f"{spec}: no such file or folder")
    if not pictures:
        raise UserError(f"{spec}: there is no picture ({', '.join(IMAGE_SUFFIXES)})")
    return pictures


def picture_files(folder: Path) -> list[Path]:
    """What is named as a picture in a folder, sorted, without hidden files (macOS keeps ._photo.jpg)."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
