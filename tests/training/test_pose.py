"""Heads that nod and turn: picture and mask stay together, and the face about where it was."""

import cv2
import numpy as np

from training.covers import Place
from training.pose import turn_head

BOX = (32, 24, 64, 80)


def turned(draws=30):
    """The mask of a face that is its own picture, before, and after each of some turns."""
    mask = np.zeros((128, 128), np.uint8)
    cv2.ellipse(mask, (64, 64), (32, 40), 0, 0, 360, 255, -1)
    cv2.rectangle(mask, (54, 74), (74, 84), 0, -1)  # a mouth
    image = cv2.merge([mask] * 3)
    for seed in range(draws):
        yield image, mask, turn_head(image, mask, Place(np.eye(3)[:2], BOX), np.random.default_rng(seed))


def test_image_and_mask_are_squeezed_together():
    for image, mask, (result, result_mask) in turned():
        assert set(np.unique(result_mask)) <= {0, 128, 255}
        judged = result_mask != 128
        assert ((result[..., 0] > 127) != (result_mask == 255))[judged].mean() < 0.01
        assert judged.mean() > 0.9
        assert (mask != result_mask).mean() > 0.002
        assert set(np.unique(image)) == {0, 255}


def test_a_face_stays_about_where_it_was_and_its_halves_change():
    mouths, sides = [], []
    for _, _, (_, result_mask) in turned():
        x, y, width, height = cv2.boundingRect((result_mask == 255).astype(np.uint8))
        assert abs(x + width / 2 - 64) < 12 and abs(y + height / 2 - 64) < 12
        assert 45 < width < 85 and 60 < height < 100
        hole = np.argwhere((result_mask == 0) & cv2.erode(filled(result_mask), np.ones((5, 5))).astype(bool))
        mouths.append(hole[:, 0].mean())
        sides.append(hole[:, 1].mean())
    assert np.ptp(mouths) > 12  # up and down
    assert np.ptp(sides) > 12  # left and right


def test_what_comes_in_from_outside_is_not_judged():
    mask, place = np.full((128, 128), 255, np.uint8), Place(np.eye(3)[:2], (-20, -20, 168, 168))
    masks = [turn_head(mask, mask, place, np.random.default_rng(seed))[1] for seed in range(30)]
    assert np.mean([each == 128 for each in masks]) > 0.01


def filled(mask):
    outlines, _ = cv2.findContours((mask == 255).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), outlines, -1, 1, -1)
