"""Which part of a frame the network sees, and the way there and back.

    region, size = whole_frame(480, 640, long_side=256)
    image = take(frame, region, size)              # what the network is given
    probability = ...                              # (height, width) of `size`
    paste(probability, region, target)             # into an array of the frame's size

A region may reach beyond the frame: there the frame's edge is repeated, so that nothing is ever squashed.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from faces.mask import Region
from utils import STRIDE, fit_size, resize

SQUASH = 0.03  # so much change of the aspect ratio nobody sees: not worth padding


def around(centre: tuple[float, float], width: float, height: float) -> Region:
    """The region of about this size about this centre, at least one pixel."""
    width, height = max(1, round(width)), max(1, round(height))
    left, top = round(centre[0] - width / 2), round(centre[1] - height / 2)
    return Region(left, top, left + width, top + height)


def whole_frame(height: int, width: int, long_side: int) -> tuple[Region, tuple[int, int]]:
    """The region with all of a frame, and the network's (height, width) for it.

    The longest side becomes `long_side`, both sides multiples of 32. Where that would change the aspect ratio
    by more than 3%, the region is made larger than the frame instead.
    """
    size = fit_size(height, width, long_side)
    aspect = (size[1] / size[0]) / (width / height)
    if 1 - SQUASH < aspect < 1 + SQUASH:
        return Region(0, 0, width, height), size
    scale = max(size) / max(height, width)
    # The 0.01 keeps a side that is a multiple of 32 but for rounding from growing by another 32.
    size = tuple(max(1, math.ceil(side * scale / STRIDE - 0.01)) * STRIDE for side in (height, width))
    return around((width / 2, height / 2), size[1] / scale, size[0] / scale), size


def shift_inside(region: Region, height: int, width: int) -> Region:
    """The region moved into the frame, as far as it fits: real surroundings beat repeated edges."""
    x = max(-region.left, 0) or min(width - region.right, 0) if region.width <= width else 0
    y = max(-region.top, 0) or min(height - region.bottom, 0) if region.height <= height else 0
    return Region(region.left + x, region.top + y, region.right + x, region.bottom + y)


def _placement(shape: tuple, region: Region, size: tuple[int, int]) -> tuple[Region, Region]:
    """The part of a frame of `shape` that is in the region, and where it lies in the network's image."""
    height, width = size
    inner = region.inside(shape[0], shape[1])
    x_scale, y_scale = width / region.width, height / region.height
    left = min(max(round((inner.left - region.left) * x_scale), 0), width - 1)
    top = min(max(round((inner.top - region.top) * y_scale), 0), height - 1)
    right = min(max(round((inner.right - region.left) * x_scale), left + 1), width)
    bottom = min(max(round((inner.bottom - region.top) * y_scale), top + 1), height)
    return inner, Region(left, top, right, bottom)


def take(frame: np.ndarray, region: Region, size: tuple[int, int]) -> np.ndarray:
    """The region of a frame, resized to (height, width) of `size`.

    frame: HxW or HxWxC, any channel order. Raises ValueError if the region does not touch the frame.
    """
    inner, place = _placement(frame.shape, region, size)
    if inner.width < 1 or inner.height < 1:
        raise ValueError(f"{region} lies outside a frame of {frame.shape[1]}x{frame.shape[0]}")
    image = frame[inner.top : inner.bottom, inner.left : inner.right]
    image = resize(image, (place.height, place.width))
    if (place.height, place.width) == tuple(size):
        return image
    bottom, right = size[0] - place.bottom, size[1] - place.right
    return cv2.copyMakeBorder(image, place.top, bottom, place.left, right, cv2.BORDER_REPLICATE)


def paste(image: np.ndarray, region: Region, target: np.ndarray) -> Region:
    """The way back: what the network gave for the region into `target`, an array of the frame's size.

    image: HxW, of the target's type. Bilinear. Returns the part of the target that was written. Raises
    ValueError if there is none.
    """
    inner, place = _placement(target.shape, region, image.shape[:2])
    if inner.width < 1 or inner.height < 1:
        raise ValueError(f"{region} lies outside a frame of {target.shape[1]}x{target.shape[0]}")
    part = image[place.top : place.bottom, place.left : place.right]
    target[inner.top : inner.bottom, inner.left : inner.right] = cv2.resize(
        part, (inner.width, inner.height), interpolation=cv2.INTER_LINEAR
    )
    return inner


def between(old: Region, old_size: tuple[int, int], new: Region, new_size: tuple[int, int]) -> np.ndarray:
    """The 2x3 matrix that takes a place in the new region's image to the same place in the old region's.

    The images have the (height, width) of old_size and new_size. For cv2.warpAffine with WARP_INVERSE_MAP.
    """
    x_old, y_old = old_size[1] / old.width, old_size[0] / old.height  # the image's pixels to one of the frame
    x_scale, y_scale = new.width / new_size[1] * x_old, new.height / new_size[0] * y_old
    x_shift, y_shift = (new.left - old.left) * x_old, (new.top - old.top) * y_old
    # Pixel centres lie at one half, hence the shift by half a pixel there and back.
    return np.array(
        [[x_scale, 0, x_shift + x_scale / 2 - 0.5], [0, y_scale, y_shift + y_scale / 2 - 0.5]], np.float32
    )
