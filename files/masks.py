"""Mask files: HxW uint8 of 0 = background, 255 = face, 128 = not judged."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from files.pictures import picture_of
from utils import FACE, NOT_JUDGED, UserError, log

COLOURED = 32  # channels that differ by more are no grey, not even in a JPEG
# By the EXIF orientations that swap the sides.
SIDEWAYS = {5: Image.TRANSPOSE, 6: Image.ROTATE_270, 7: Image.TRANSVERSE, 8: Image.ROTATE_90}
CONVERT = "`python -m tools.masks` converts what labelling tools write"


def read_mask(path: str | os.PathLike, threshold: int | None = None) -> np.ndarray:
    """Return a mask file as HxW uint8 of 0, 128, 255.

    Grey, 1-bit, palette, RGB and RGBA files are understood. Colour files must show greys, and transparent
    pixels are background. A palette of greys is read by these, one of colours by its numbers. With a
    threshold, what is at least that bright is face and the rest background. Raises UserError for colours and
    other values.
    """
    with picture_of(path) as picture:
        if picture.mode in ("1", "L", "I;16", "I", "F"):
            values = np.array(picture) * (FACE if picture.mode == "1" else 1)
        else:
            *colours, alpha = np.moveaxis(np.array(picture.convert("RGBA")), 2, 0)
            grey = np.ptp(colours, axis=0).max() <= (0 if threshold is None else COLOURED)
            values = np.where(alpha >= 128, colours[0], 0)
            if not grey and picture.mode == "P" and threshold is None:
                values = np.array(picture)
                if (values == 255).any():  # which VOC does not judge
                    shown = ", ".join(map(str, np.unique(values)[:8]))
                    question = "is 255 face or not judged?"
                    raise UserError(f"{path}: a palette of colours holds {shown}; {question} {CONVERT}")
            elif not grey:
                raise UserError(f"{path}: a mask must be black, white or grey, this has colours: {CONVERT}")
        if threshold is None:
            return label_values(values, str(path))
        return np.where(values >= threshold, FACE, 0).astype(np.uint8)


def orientation(path: str | os.PathLike) -> int:
    """Return the EXIF orientation of a picture: 1 as stored, from 5 on with the sides swapped."""
    with picture_of(path) as picture:
        return picture.getexif().get(0x0112, 1)


def fit_mask(mask: np.ndarray, path: str | os.PathLike, size: tuple[int, int]) -> np.ndarray:
    """Return a mask in its picture's (height, width): scaled, or turned as the picture's EXIF says.

    Raises UserError for a mask of other proportions.
    """
    turn = SIDEWAYS.get(orientation(path))
    if turn is not None and mask.shape == size[::-1] != size:  # of a square nothing tells
        mask = np.array(Image.fromarray(mask).transpose(turn))
    if abs(mask.shape[0] * size[1] - mask.shape[1] * size[0]) > 0.02 * mask.shape[1] * size[0]:
        raise UserError(f"{path} is {size[1]}x{size[0]}, but its mask is {mask.shape[1]}x{mask.shape[0]}")
    return np.array(Image.fromarray(mask).resize(size[::-1], Image.NEAREST))


def by_name(paths: Iterable[Path]) -> dict[str, Path]:
    """Return {name without ending: path} of pictures. Raises UserError for two of one name."""
    files: dict[str, Path] = {}
    for path in paths:
        if (other := files.setdefault(path.stem, path)) != path:
            raise UserError(f"{path} and {other} share one name; rename or remove one of them")
    return files


def without_affix(masks: dict, images: dict) -> dict:
    """Return {name: path} of masks by their pictures' names, where all have one prefix or suffix more."""
    start = os.path.commonprefix(list(masks))  # noqa: RUF071 (of texts, no paths)
    end = os.path.commonprefix([name[::-1] for name in masks])[::-1]  # noqa: RUF071
    affixes = [("", ""), *((start[: i + 1], "") for i in range(len(start)))]
    affixes += [("", end[i:]) for i in range(len(end))]

    def named(affix: tuple) -> dict:
        return {name.removeprefix(affix[0]).removesuffix(affix[1]): path for name, path in masks.items()}

    prefix, suffix = best = max(affixes, key=lambda affix: len(named(affix).keys() & images.keys()))
    if prefix or suffix:
        log.info("all masks %s %s", "start with" if prefix else "end in", prefix or suffix)
    return named(best)


def label_values(values: np.ndarray, where: str) -> np.ndarray:
    """Turn a mask's values, 0/1 or 0/255 and either with 128, into 0, 128, 255; UserError for any others."""
    present = np.unique(values)
    if np.isin(present, (0, 1, NOT_JUDGED)).all():
        return np.where(values == 1, FACE, values).astype(np.uint8)
    if np.isin(present, (0, NOT_JUDGED, FACE)).all():
        return values.astype(np.uint8)
    shown = ", ".join(f"{value:g}" for value in present[:8].tolist())
    more = f" and {len(present) - 8} more values" if len(present) > 8 else ""
    raise UserError(
        f"{where}: a mask must hold 0 and 255 (or 0 and 1), and 128 for not judged; this one holds "
        f"{shown}{more}: {CONVERT}"
    )
