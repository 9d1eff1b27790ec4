"""Training augmentation: one picture and its mask become one random training example.

It crops (crops.py), puts things before the face (covers.py) and changes the light (photometric.py).
Every picture here is HWC uint8 RGB, every mask HxW uint8 with 0 = background, 255 = face and 128 = not
judged. All randomness comes from the generator that is passed in, so an example depends on its seed alone.
"""

from __future__ import annotations

import numpy as np

from training.covers import Place, draw_cloth_mask, draw_glasses, draw_hair, draw_hand, put_before
from training.crops import random_crop, random_face, warp
from training.photometric import shift_hue, vary_light
from utils import FACE


def augment(
    image: np.ndarray,
    mask: np.ndarray,
    size: int,
    rng: np.random.Generator,
    other: np.ndarray | None = None,
    gentle: bool = False,
) -> tuple:
    """Return a random (size, size, 3) picture and its (size, size) mask.

    other: a picture without a face, from which things before the face are cut. gentle: of four examples
    three are only cropped.
    """
    box = random_face(mask, rng)
    matrix = random_crop(mask, box, size, rng)
    image, mask = warp(image, mask, matrix, size, rng)
    if gentle and rng.random() < 0.75:
        return image, mask
    if not mask.any():
        if rng.random() < 0.5:
            # Clothes and walls of any colour, skin's too, are no face: colour alone must not decide.
            image = shift_hue(image, int(rng.integers(0, 180)), rng.uniform(0.7, 2.0))
    elif box is not None and (mask == FACE).any():
        image, mask = cover(image, mask, Place(matrix, box), other, rng)
    return vary_light(image, rng), mask


def cover(image: np.ndarray, mask: np.ndarray, place: Place, other: np.ndarray | None, rng) -> tuple:
    """Put nothing, one thing or, seldom, several things on or before a face."""
    if rng.random() < 0.06:
        image, mask = draw_hair(image, mask, place, rng)
    if rng.random() < 0.06:
        image, mask = draw_glasses(image, mask, place, rng)
    if rng.random() < 0.06:
        image, mask = draw_cloth_mask(image, mask, place, other, rng)
    if rng.random() < 0.05:
        image, mask = draw_hand(image, mask, place, rng)
    if rng.random() < 0.12:
        image, mask = put_before(image, mask, place, other, rng)
    return image, mask
