"""Training augmentation: one picture and its mask become one random training example.

Pictures are HWC uint8 RGB, masks HxW uint8 with 0 = background, 255 = face and 128 = not judged. All
randomness comes from the generator that is passed in, so an example depends on its seed alone.
"""

from __future__ import annotations

import numpy as np

from faces.crops import brighten, brightness_gain
from training.covers import Place, draw_cloth_mask, draw_glasses
from training.crops import random_crop, random_face, skin_crop, warp
from training.hands import Hand, lay_hand
from training.photometric import shift_hue, vary_light
from training.pose import turn_head
from training.things import draw_hair, draw_thing, put_before
from utils import FACE


def augment(
    image: np.ndarray,
    mask: np.ndarray,
    size: int,
    rng: np.random.Generator,
    other: np.ndarray | None = None,
    hand: Hand | None = None,
    gentle: bool = False,
) -> tuple:
    """Return a random (size, size, 3) picture and its (size, size) mask.

    other: a picture without a face, from which things before the face are cut. hand: one that may be laid
    before it. gentle: of four examples three are only cropped, or have a hand laid before the face.
    """
    box = random_face(mask, rng)
    if not mask.any() and rng.random() < 0.7:  # what a detector takes for a face has the colour of one
        matrix = skin_crop(image, size, rng)
    else:
        matrix = random_crop(mask, box, size, rng)
    image, mask = warp(image, mask, matrix, size, rng)
    place = None if box is None or not (mask == FACE).any() else Place(matrix, box, other)
    if gentle and rng.random() < 0.75:
        if place and hand and rng.random() < 0.12:
            image, mask = lay_hand(image, mask, place, hand, rng)
        return as_given(image), mask
    if place is None:
        if not mask.any() and rng.random() < 0.3:
            # Clothes and walls of any colour, skin's too, are no face: colour alone must not decide.
            image = shift_hue(image, int(rng.integers(0, 180)), rng.uniform(0.7, 2.0))
        return as_given(vary_light(image, rng)), mask
    if rng.random() < 0.2:
        image, mask = turn_head(image, mask, place, rng)
    for share, cover in (
        (0.06, draw_hair),
        (0.06, draw_glasses),
        (0.06, draw_cloth_mask),
        (0.05, draw_thing),
        (0.07, put_before),
    ):
        if rng.random() < share:
            image, mask = cover(image, mask, place, rng)
    if hand is not None and rng.random() < 0.25:
        image, mask = lay_hand(image, mask, place, hand, rng)
    return as_given(vary_light(image, rng, place.height)), mask


def as_given(image: np.ndarray) -> np.ndarray:
    """Return the image as the network is given it at inference: brightened where it is dark."""
    return brighten(image, brightness_gain(image))
