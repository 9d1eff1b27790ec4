"""What the network is given of a frame, and the way back.

A face is shown to the network in a square around it, at the square's own resolution but not below a limit; a
head that leans far, lies or hangs is turned upright. Beyond the frame its edge is repeated.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from faces.mask import Region
from utils import STRIDE, fit_size, resize

SCALE = 2.0  # the crop's side, in longer sides of the box around the face
SMALLEST = 160  # pixels: the side of a small face's crop, which is enlarged to it
LEANING = 25  # degrees: heads that lean by less are not turned, as the network knows them
MOVE = 0.12  # the crop stays where it is until the face is off its centre by this part of its side ...
GROW = 1.25  # ... or larger or smaller by this factor ...
TURN = 12  # ... or turned by so many degrees: a crop that stands still gives a mask that does
SQUASH = 0.03  # so much change of the aspect ratio nobody sees: not worth padding
DARK, BRIGHT = 80, 160  # levels of an image's brightest hundredth: white from one on, unchanged at the other


class Crop(NamedTuple):
    """A rectangle of a frame, turned or not, and the (height, width) of the network's image of it."""

    region: Region  # the rectangle if it were not turned: turning leaves its centre where it is
    size: tuple[int, int]
    angle: float = 0.0  # degrees by which it leans to the right of the frame

    def cut(self, frame: np.ndarray) -> np.ndarray:
        """Return the crop's image, HWC of its size. frame: HWC, any channel order. Raises ValueError if the
        crop does not touch the frame.
        """
        if self.angle:
            around = self._upright()
            image, matrix = around.cut(frame), between(around, self)
            return cv2.warpAffine(image, matrix, self.size[::-1], borderMode=cv2.BORDER_REPLICATE)
        inner, place = self._placement(frame.shape)
        image = resize(frame[inner.rows, inner.columns], (place.height, place.width))
        if image.shape[:2] == tuple(self.size):
            return image
        bottom, right = self.size[0] - place.bottom, self.size[1] - place.right
        return cv2.copyMakeBorder(image, place.top, bottom, place.left, right, cv2.BORDER_REPLICATE)

    def paste(self, levels: np.ndarray, shape: tuple) -> tuple[Region, np.ndarray]:
        """Return where the crop lies within a frame of `shape`, and its levels there, in the frame's pixels.

        levels: HxW uint8 of the crop's size; bilinear. Raises ValueError if the crop is outside the frame.
        """
        if self.angle:
            around = self._upright()
            return around.paste(cv2.warpAffine(levels, between(self, around), around.size[::-1]), shape)
        inner, place = self._placement(shape)
        part = levels[place.rows, place.columns]
        return inner, cv2.resize(part, (inner.width, inner.height), interpolation=cv2.INTER_LINEAR)

    def matrix(self) -> np.ndarray:
        """Return the 2x3 matrix from a place in the frame to the same place in the crop's image.

        Places are those of cv2.warpAffine: whole numbers are centres of pixels.
        """
        cos, sin = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        scale = np.diag([self.size[1] / self.region.width, self.size[0] / self.region.height])
        linear = scale @ np.array([[cos, sin], [-sin, cos]])
        middle = np.array(self.size[::-1]) / 2
        shift = middle - linear @ (np.array(self.region.centre) - 0.5) - 0.5
        return np.hstack([linear, shift[:, None]])

    def to_image(self, box: Region) -> Region:
        """Return a box of the frame in pixels of the crop's image: of a turned crop one of the same sides."""
        x_scale, y_scale = self.size[1] / self.region.width, self.size[0] / self.region.height
        matrix = self.matrix()
        centre = matrix[:, :2] @ (np.array(box.centre) - 0.5) + matrix[:, 2] + 0.5
        return region_around(tuple(centre), box.width * x_scale, box.height * y_scale)

    def _upright(self) -> Crop:
        """Return the upright crop, of the same scale, that holds all of this one."""
        reach = abs(math.cos(math.radians(self.angle))) + abs(math.sin(math.radians(self.angle)))
        height, width = (max(1, math.ceil(side * reach)) for side in self.size)
        scale = self.region.width / self.size[1]
        return Crop(region_around(self.region.centre, width * scale, height * scale), (height, width))

    def _placement(self, shape: tuple) -> tuple[Region, Region]:
        """Return the part of a frame of `shape` that the crop holds, and its place in the crop's image."""
        height, width = self.size
        inner = self.region.inside(shape[0], shape[1])
        if inner.width < 1 or inner.height < 1:
            raise ValueError(f"{self.region} lies outside a frame of {shape[1]}x{shape[0]}")
        x_scale, y_scale = width / self.region.width, height / self.region.height
        left = min(round((inner.left - self.region.left) * x_scale), width - 1)
        top = min(round((inner.top - self.region.top) * y_scale), height - 1)
        right = max(round((inner.right - self.region.left) * x_scale), left + 1)
        bottom = max(round((inner.bottom - self.region.top) * y_scale), top + 1)
        return inner, Region(left, top, right, bottom)


def crop_face(box: Region, angle: float, shape: tuple, largest: int, smallest: int) -> Crop:
    """Return the square around a face in a frame of `shape`, as large for the network as it is in the frame,
    to the nearest multiple of 32 pixels from `smallest` to `largest`.
    """
    side = min(SCALE * max(box.width, box.height), max(shape[:2]))
    pixels = min(max(round(side / STRIDE) * STRIDE, smallest), largest)
    square = region_around(box.inside(shape[0], shape[1]).centre, side, side)  # a face may be on its way out
    if abs(angle) <= LEANING:
        return Crop(shift_inside(square, shape[0], shape[1]), (pixels, pixels))
    return Crop(square, (pixels, pixels), angle)


def crop_frame(shape: tuple, long_side: int) -> Crop:
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
    return Crop(region_around((width / 2, height / 2), size[1] / scale, size[0] / scale), size)


def steady(old: Crop, new: Crop) -> Crop:
    """Return the old crop if it is so near to the new one that it may stay, else the new one."""
    x_shift = abs(old.region.centre[0] - new.region.centre[0]) / new.region.width
    y_shift = abs(old.region.centre[1] - new.region.centre[1]) / new.region.height
    grown = old.region.width / new.region.width
    turned = abs((old.angle - new.angle + 180) % 360 - 180)
    return old if max(x_shift, y_shift) < MOVE and 1 / GROW < grown < GROW and turned < TURN else new


def shift_inside(region: Region, height: int, width: int) -> Region:
    """Return the region moved into the frame, as far as it fits: real surroundings beat repeated edges."""
    x = max(-region.left, 0) or min(width - region.right, 0) if region.width <= width else 0
    y = max(-region.top, 0) or min(height - region.bottom, 0) if region.height <= height else 0
    return region.moved(x, y)


def between(one: Crop, other: Crop) -> np.ndarray:
    """Return the 2x3 matrix from a place in one crop's image to the same place in the other's."""
    back = cv2.invertAffineTransform(one.matrix())
    return other.matrix() @ np.vstack([back, [0, 0, 1]])


def brightness_gain(image: np.ndarray) -> float:
    """Return the factor that brings a dark image's brightest hundredth to white; it falls steadily to 1 for a
    bright one, so that no small change of the light switches it on. image: uint8.
    """
    step = max(1, max(image.shape[:2]) // 64)
    sample = image[::step, ::step].ravel()
    level = max(int(np.partition(sample, sample.size * 99 // 100)[sample.size * 99 // 100]), 8)
    return float(np.interp(level, [DARK, BRIGHT], [255, BRIGHT])) / level if level < BRIGHT else 1.0


def brighten(image: np.ndarray, gain: float) -> np.ndarray:
    """Return the image times the gain, as cameras in the dark do. image: uint8."""
    return cv2.convertScaleAbs(image, alpha=gain) if gain > 1 else image


def region_around(centre: tuple[float, float], width: float, height: float) -> Region:
    """Return the region of about this size about this centre, at least one pixel."""
    width, height = max(1, round(width)), max(1, round(height))
    left, top = round(centre[0] - width / 2), round(centre[1] - height / 2)
    return Region(left, top, left + width, top + height)
