"""A world in which faces are red ellipses, and a network that knows it: what the live part's tests look at.

With them the right mask of every frame is known without any weights.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils import MEAN, STD

RED = (20, 20, 230)  # BGR


def red_runtime(batch: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) normalised RGB -> (N, 1, H, W) logits: above 0 where it is red."""
    pixels = batch * STD[:, None, None] + MEAN[:, None, None]
    redness = pixels[:, :1] - pixels[:, 1:].max(axis=1, keepdims=True)
    return ((redness - 105) / 10).astype(np.float32)


red_runtime.name = "red on CPU"


def left_quarter(batch: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) -> (N, 1, H, W) logits of a network that sees nothing but the place."""
    return np.where(np.arange(batch.shape[3]) < batch.shape[3] // 4, 30, -10) + 0 * batch[:, :1]


left_quarter.name = "left quarter on CPU"


def background(height: int, width: int, seed: int = 0) -> np.ndarray:
    """HWC uint8 BGR: grey and bluish shades with some structure, nothing red."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 190, (height // 16 + 2, width // 16 + 2), dtype=np.uint8)
    grey = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.merge([grey, grey, (grey * 0.8).astype(np.uint8)])


def draw_face(frame: np.ndarray, centre: tuple, radius: float) -> np.ndarray:
    """A face into the frame, in place; returns its true mask, HxW bool. radius: half its height."""
    axes = (round(radius * 0.75), round(radius))
    place = (round(centre[0]), round(centre[1]))
    cv2.ellipse(frame, place, axes, 0, 0, 360, RED, -1)
    truth = np.zeros(frame.shape[:2], np.uint8)
    cv2.ellipse(truth, place, axes, 0, 0, 360, 1, -1)
    return truth.astype(bool)


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    mask, truth = np.asarray(mask, bool), np.asarray(truth, bool)
    return np.count_nonzero(mask & truth) / max(1, np.count_nonzero(mask | truth))
