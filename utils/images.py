"""Pictures in and out, and what the network is given. Images are HWC uint8 RGB everywhere in this file."""

from __future__ import annotations

import glob
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from utils.files import atomic_path, regular_file
from utils.program import STRIDE, UserError

# The published network's normalisation: (pixel - MEAN) / STD, RGB, for pixels of 0..255.
MEAN = np.array([123.68, 116.779, 103.939], np.float32)
STD = np.array([58.393, 57.12, 57.375], np.float32)

FACE, NOT_JUDGED = 255, 128  # values of a mask; background is 0

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
ALPHA_SUFFIXES = (".png", ".webp", ".tif", ".tiff")


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


def read_image(path: str | os.PathLike) -> np.ndarray:
    """A picture file as HWC uint8 RGB.

    The camera's EXIF orientation is applied, transparency is laid on black, 16 bits become 8, grey, palette
    and CMYK become RGB. Raises UserError, naming the file, if there is no whole picture in it.
    """
    path = regular_file(path)
    try:
        with open_picture(path) as picture:
            return _to_rgb(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: not a picture, or of an unknown format") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: more pixels than is safe to open; scale it down first") from error
    except Exception as error:  # Pillow raises almost anything on broken data, struct.error for one
        raise UserError(f"{path}: broken picture ({error})") from error


def open_picture(path: str | os.PathLike) -> Image.Image:
    """Image.open without its warning of pictures as large as phones take them: it refuses larger ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def _to_rgb(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith("I"):  # 16-bit grey
        grey = np.asarray(picture).astype(np.int64) >> 8
        return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if picture.mode == "F":
        raise ValueError("floating-point pixels are not supported")
    if "A" in picture.mode or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture)
    return np.array(picture.convert("RGB"))


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write a picture, whole or not at all; the suffix of `path` decides the format.

    image: HWC uint8 RGB or RGBA, or HW. Raises UserError for a format that cannot hold it or
    cannot hold this one (too large, say), OSError if it cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise UserError(f"{path}: '{suffix}' is no picture format; use one of {', '.join(IMAGE_SUFFIXES)}")
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
        raise ValueError(
            f"{path}: an image must be uint8 HxW, HxWx3 or HxWx4, not {image.shape} {image.dtype}"
        )
    if image.ndim == 3 and image.shape[2] == 4 and suffix not in ALPHA_SUFFIXES:
        raise UserError(f"{path}: '{suffix}' cannot hold transparency; use .png")
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    try:
        ok, data = cv2.imencode(suffix, image)
    except cv2.error as error:
        raise UserError(f"{path}: cannot encode this picture ({error.err})") from error
    if not ok:
        raise UserError(f"{path}: cannot encode this picture")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
