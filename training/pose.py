"""Heads that look down, up or to a side: the picture and its mask are squeezed together."""

from __future__ import annotations

import cv2
import numpy as np

from training.covers import Place
from training.crops import change_mask
from utils import NOT_JUDGED

KINDS = np.array([(1, 0), (0, 1), (0.7, 0.7)])  # how much of a nod and of a turn


def turn_head(image: np.ndarray, mask: np.ndarray, place: Place, rng: np.random.Generator) -> tuple:
    """Return both as if the head were nodded and turned by some random angle.

    image: HWC uint8 RGB. mask: HxW uint8 of 0, 128, 255. What comes in from outside is mirrored, not judged.
    """
    nod, turn = rng.choice((-1, 1), 2) * rng.uniform(0.15, 0.65, 2) * KINDS[rng.integers(3)]
    inverse = np.linalg.inv(place.linear)
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]].astype(np.float32)
    x, y = x - np.float32(place.origin[0]), y - np.float32(place.origin[1])
    u, v = (np.float32(a) * x + np.float32(b) * y for a, b in inverse)  # the face's own coordinates
    inside_u, inside_v = np.clip(u, 0, 1), np.clip(v, 0, 1)
    # One half is squeezed, the other stretched; outside of the face all stays where it was.
    shift_u = np.float32(turn / np.pi) * np.sin(np.pi * inside_u) * fade(v)
    shift_v = np.float32(nod / np.pi) * np.sin(np.pi * inside_v) * fade(u)
    # What turns away is smaller too: perspective.
    shift_u += np.float32(0.35 * nod) * (inside_v - 0.5) * (np.clip(u, -0.3, 1.3) - 0.5)
    shift_v += np.float32(0.25 * turn) * (inside_u - 0.5) * (np.clip(v, -0.3, 1.3) - 0.5)
    (a, b), (c, d) = place.linear.astype(np.float32)
    x += np.float32(place.origin[0]) + a * shift_u + b * shift_v
    y += np.float32(place.origin[1]) + c * shift_u + d * shift_v

    def move(plane: np.ndarray) -> np.ndarray:
        return cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    moved, (height, width) = change_mask(mask, move), mask.shape
    moved[(x < -1) | (y < -1) | (x > width) | (y > height)] = NOT_JUDGED
    return move(image), moved


def fade(place: np.ndarray) -> np.ndarray:
    """Return 1 where 0 <= place <= 1, falling to 0 at -0.5 and 1.5."""
    return np.clip(1 - np.abs(place - 0.5), 0, 0.5) * 2
