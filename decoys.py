"""What has a skin's colour and is no face, made into training examples so that colour alone does not decide.

    tones = skin_tones(image, mask)
    image = paint_shapes(image, tones, rng)  # of a picture without a face
    image = tint_background(image, mask, tones, rng)  # of one with a face

Cups, coins, wooden walls, fair hair and beige cloth are marked as faces otherwise. Pictures are HWC uint8
RGB, masks HxW uint8 with 0 = background, 255 = face and 128 = not judged.
"""

from __future__ import annotations

import cv2
import numpy as np


def skin_tones(image: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """Give a darker and a lighter colour of the face, (2, 3) float RGB, or None without a face."""
    face = image[mask == 255]
    if len(face) < 16:
        return None
    by_brightness = face[face.sum(axis=1, dtype=int).argsort()]
    fifth = len(face) // 5
    return np.array([by_brightness[fifth : 2 * fifth].mean(axis=0), by_brightness[-fifth:].mean(axis=0)])


def paint_shapes(image: np.ndarray, tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paint one to three ellipses or boxes, shaded from the one tone to the other."""
    size = image.shape[0]
    result = image.astype(np.float32)
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    for _ in range(rng.integers(1, 4)):
        cover = np.zeros((size, size), np.float32)
        centre = rng.uniform(0.1, 0.9, 2) * size
        axes, angle = rng.uniform(0.08, 0.4, 2) * size, rng.uniform(0, 180)
        if rng.random() < 0.6:
            cv2.ellipse(cover, (centre.tolist(), (2 * axes).tolist(), angle), 1.0, -1)
        else:
            box = cv2.boxPoints((centre.tolist(), (2 * axes).tolist(), angle))
            cv2.fillPoly(cover, [box.astype(np.int32)], 1.0)
        cover = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.3, 0.01 * size + 0.5))[..., None]
        light = rng.uniform(0, 2 * np.pi)
        shade = 0.5 + rng.uniform(0.2, 0.8) * (np.cos(light) * rows + np.sin(light) * columns)[..., None]
        shape = tones[0] + shade * (tones[1] - tones[0])
        # Something of what is there shines through as the shape's own texture.
        shape = shape + rng.uniform(0, 0.6) * (result - cv2.GaussianBlur(result, (0, 0), size / 32))
        result = result + cover * (shape - result)
    return np.clip(result, 0, 255).astype(np.uint8)


def tint_background(
    image: np.ndarray, mask: np.ndarray, tones: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Give the background, or what is on one side of a line, the skin's colour at its own brightness."""
    size = image.shape[0]
    share = cv2.GaussianBlur((mask == 0).astype(np.float32), (0, 0), max(size / 200, 0.5))
    if rng.random() < 0.5:
        rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        angle = rng.uniform(0, 2 * np.pi)
        share[np.cos(angle) * rows + np.sin(angle) * columns < rng.uniform(-0.5, 0.7)] = 0
    share *= rng.uniform(0.5, 1.0)
    colour = tones.mean(axis=0)
    brightness = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    tinted = brightness * (colour / max(colour @ (0.299, 0.587, 0.114), 1.0))
    return np.clip(image + share[..., None] * (tinted - image), 0, 255).astype(np.uint8)
