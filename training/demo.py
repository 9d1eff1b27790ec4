"""Generated pictures of something like a face, to try the training without data."""

from __future__ import annotations

import cv2
import numpy as np

from dataset import Pairs
from utils import FACE


class DemoFaces(Pairs):
    """`count` pictures: (size, size, 3) uint8 RGB, with their (size, size) masks of 0 and 255.

    Each, a skin-coloured oval with eyes, mouth and hair over shapes, is drawn from (seed, index).
    """

    def __init__(self, count: int, size: int, seed: int = 0):
        self.size, self.seed = size, seed
        self.names = [f"demo{index}" for index in range(count)]

    def __getitem__(self, index: int) -> tuple:
        rng = np.random.default_rng((self.seed, index))
        size = self.size
        image = np.full((size, size, 3), rng.integers(0, 256, 3), np.uint8)
        for _ in range(6):  # what is behind
            place, axes = rng.uniform(0, size, 2), rng.uniform(0.05, 0.3, 2) * size
            ellipse(image, place, axes, 0.0, rng.integers(0, 256, 3))
        centre = rng.uniform(0.35, 0.65, 2) * size
        height = rng.uniform(0.16, 0.32) * size  # half the face's
        width = height * rng.uniform(0.68, 0.85)
        angle = float(rng.normal(0, 12))
        skin = np.array([224, 172, 138]) * rng.uniform(0.35, 1.1) + rng.normal(0, 8, 3)
        hair = skin * rng.uniform(0.1, 0.5)
        ellipse(image, centre, (width * 1.2, height * 1.2), angle, hair)
        up = np.array([np.sin(np.deg2rad(angle)), -np.cos(np.deg2rad(angle))])
        right = np.array([-up[1], up[0]])
        ellipse(image, centre - up * height * 1.3, (width * 0.5, height * 0.5), angle, skin * 0.9)  # neck
        ellipse(image, centre, (width, height), angle, skin)
        mask = np.zeros((size, size), np.uint8)
        ellipse(mask, centre, (width, height), angle, (FACE,), cv2.LINE_8)
        for side in (-0.4, 0.4):
            eye = centre + right * side * width + up * height * 0.2
            ellipse(image, eye, (width * 0.2, height * 0.1), angle, (235, 235, 235))
            ellipse(image, eye, (width * 0.08, height * 0.1), angle, (40, 30, 20))
        ellipse(image, centre - up * height * 0.5, (width * 0.4, height * 0.1), angle, (170, 60, 70))
        return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8), mask


def ellipse(image: np.ndarray, centre, axes, angle: float, colour, edge: int = cv2.LINE_AA) -> None:
    box = (tuple(map(float, centre)), tuple(2 * float(axis) for axis in axes), angle)
    cv2.ellipse(image, box, tuple(float(value) for value in np.clip(colour, 0, 255)), -1, edge)
