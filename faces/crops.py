"""What the network is given of a frame, and the way back.

    crop = crop_about(box, frame.shape, largest=224)
    image = take(frame, crop)                      # what the network is given
    levels = ...                                   # HxW uint8 that it gives for it
    region, part = lay(levels, crop, frame.shape)  # the same, of the frame's pixels

A face is looked at in a square about it, at the square's own resolution: a small face has few pixels. A crop
may reach beyond the frame: there the frame's edge is repeated, so that nothing is ever squashed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from faces.mask import Region
from utils import STRIDE, fit_size, resize

SCALE = 2.0  # the crop's side, in longer sides of the box about the face
MOVE = 0.12  # the crop stays where it is until the face is off its centre by this part of its side ...
GROW = 1.25  # ... or larger or smaller by this factor: a crop that stands still gives a mask that does
SQUASH = 0.03  # so much change of the aspect ratio nobody sees: not worth padding
DARK = 100  # an image whose brightest hundredth is darker than this is brightened


class Crop(NamedTuple):
    """A part of a frame, and the (height, width) of the image that the network gets of it."""

    region: Region
    size: tuple[int, int]


def crop_about(box: Region, shape: tuple, largest: int, smallest: int = STRIDE) -> Crop:
    """Return the square about a face in a frame of `shape`, as large for the network as it is in the frame,
    to the nearest multiple of 32 from `smallest` to `largest` pixels.
    """
    side = min(SCALE * max(box.width, box.height), max(shape[:2]))
    pixels = min(max(round(side / STRIDE) * STRIDE, smallest), largest)
    centre = box.inside(shape[0], shape[1]).centre  # a face may be on its way out
    return Crop(shift_inside(_around(centre, side, side), shape[0], shape[1]), (pixels, pixels))


def whole_frame(shape: tuple, long_side: int) -> Crop:
    """Return the crop with all of a frame: its longest side becomes `long_side`, both multiples of 32.

    Where that would change the aspect ratio by more than 3%, the region is larger than the frame instead.
    """
    height, width = shape[:2]
    size = fit_size(height, width, long_side)
    aspect = (size[1] / size[0]) / (width / height)
    if 1 - SQUASH < aspect < 1 + SQUASH:
        return Crop(Region(0, 0, width, height), size)
    scale = max(size) / max(height, width)
    # The 0.01 keeps a side that is a multiple of 32 but for rounding from growing by another 32.
    size = tuple(max(1, math.ceil(side * scale / STRIDE - 0.01)) * STRIDE for side in (height, width))
    return Crop(_around((width / 2, height / 2), size[1] / scale, size[0] / scale), size)


def steady(old: Crop | None, new: Crop) -> Crop:
    """Return the old crop if it is so near to the new one that it may stay, else the new one."""
    if old is None:
        return new
    x_shift = abs(old.region.centre[0] - new.region.centre[0]) / new.region.width
    y_shift = abs(old.region.centre[1] - new.region.centre[1]) / new.region.height
    grown = old.region.width / new.region.width
    return old if max(x_shift, y_shift) < MOVE and 1 / GROW < grown < GROW else new


def shift_inside(region: Region, height: int, width: int) -> Region:
    """Return the region moved into the frame, as far as it fits: real surroundings beat repeated edges."""
    x = max(-region.left, 0) or min(width - region.right, 0) if region.width <= width else 0
    y = max(-region.top, 0) or min(height - region.bottom, 0) if region.height <= height else 0
    return Region(region.left + x, region.top + y, region.right + x, region.bottom + y)


def take(frame: np.ndarray, crop: Crop) -> np.ndarray:
    """Return the crop's image, HWC of its size.

    frame: HWC, any channel order. Raises ValueError if the crop does not touch the frame.
    """
    inner, place = _placement(frame.shape, crop)
    image = resize(frame[inner.rows, inner.columns], (place.height, place.width))
    if image.shape[:2] == tuple(crop.size):
        return image
    bottom, right = crop.size[0] - place.bottom, crop.size[1] - place.right
    return cv2.copyMakeBorder(image, place.top, bottom, place.left, right, cv2.BORDER_REPLICATE)


def lay(levels: np.ndarray, crop: Crop, shape: tuple) -> tuple[Region, np.ndarray]:
    """Return where the crop lies within a frame of `shape`, and its levels there, of the frame's pixels.

    levels: HxW uint8 of the crop's size; bilinear. Raises ValueError if the crop does not touch the frame.
    """
    inner, place = _placement(shape, crop)
    part = levels[place.rows, place.columns]
    return inner, cv2.resize(part, (inner.width, inner.height), interpolation=cv2.INTER_LINEAR)


def between(old: Crop, old_size: tuple[int, int], new: Crop, new_size: tuple[int, int]) -> np.ndarray:
    """Return the 2x3 matrix from a place in the new crop's image to the same place in the old crop's.

    The images have the (height, width) of old_size and new_size. For cv2.warpAffine with WARP_INVERSE_MAP.
    """
    before, after = old.region, new.region
    x_old, y_old = old_size[1] / before.width, old_size[0] / before.height  # image pixels to one of the frame
    x_scale, y_scale = after.width / new_size[1] * x_old, after.height / new_size[0] * y_old
    x_shift, y_shift = (after.left - before.left) * x_old, (after.top - before.top) * y_old
    # Pixel centres lie at one half, hence the shift by half a pixel there and back.
    return np.array(
        [[x_scale, 0, x_shift + x_scale / 2 - 0.5], [0, y_scale, y_shift + y_scale / 2 - 0.5]], np.float32
    )


def in_crop(box: Region, crop: Crop) -> Region:
    """Return a box of the frame's pixels in pixels of the crop's image."""
    x_scale, y_scale = crop.size[1] / crop.region.width, crop.size[0] / crop.region.height
    return _scaled(box.moved(-crop.region.left, -crop.region.top), x_scale, y_scale)


def in_frame(box: Region, crop: Crop) -> Region:
    """Return a box in pixels of the crop's image in the frame's pixels."""
    x_scale, y_scale = crop.region.width / crop.size[1], crop.region.height / crop.size[0]
    return _scaled(box, x_scale, y_scale).moved(crop.region.left, crop.region.top)


def brighten(image: np.ndarray) -> np.ndarray:
    """Return a dark image with its brightest hundredth at white, any other as it is. image: uint8."""
    step = max(1, max(image.shape[:2]) // 64)
    sample = image[::step, ::step].ravel()
    bright = np.partition(sample, sample.size * 99 // 100)[sample.size * 99 // 100]
    return cv2.convertScaleAbs(image, alpha=255 / max(bright, 8)) if bright < DARK else image


def _around(centre: tuple[float, float], width: float, height: float) -> Region:
    """Return the region of about this size about this centre, at least one pixel."""
    width, height = max(1, round(width)), max(1, round(height))
    left, top = round(centre[0] - width / 2), round(centre[1] - height / 2)
    return Region(left, top, left + width, top + height)


def _scaled(box: Region, x_scale: float, y_scale: float) -> Region:
    left, right = (round(x * x_scale) for x in (box.left, box.right))
    top, bottom = (round(y * y_scale) for y in (box.top, box.bottom))
    return Region(left, top, max(right, left + 1), max(bottom, top + 1))


def _placement(shape: tuple, crop: Crop) -> tuple[Region, Region]:
    """Return the part of a frame of `shape` that is in the crop, and where it lies in the crop's image."""
    region, (height, width) = crop
    inner = region.inside(shape[0], shape[1])
    if inner.width < 1 or inner.height < 1:
        raise ValueError(f"{region} lies outside a frame of {shape[1]}x{shape[0]}")
    x_scale, y_scale = width / region.width, height / region.height
    left = min(max(round((inner.left - region.left) * x_scale), 0), width - 1)
    top = min(max(round((inner.top - region.top) * y_scale), 0), height - 1)
    right = min(max(round((inner.right - region.left) * x_scale), left + 1), width)
    bottom = min(max(round((inner.bottom - region.top) * y_scale), top + 1), height)
    return inner, Region(left, top, right, bottom)
