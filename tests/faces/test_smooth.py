"""Less flicker without a trail: python -m pytest tests/faces/test_smooth.py"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scenes import background

from faces.crops import Crop
from faces.mask import Region
from faces.smooth import FaceMemory

WHOLE = Crop(Region(0, 0, 256, 192), (192, 256))


def textured(x: float, y: float, scene: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A textured disc at (x, y) before a scene: the image, and the disc's mask as float32."""
    matrix = np.array([[1, 0, x - 32], [0, 1, y - 32]], np.float32)
    disc = np.zeros((64, 64), np.float32)
    cv2.circle(disc, (32, 32), 26, 1, -1, cv2.LINE_AA)
    mask = cv2.warpAffine(disc, matrix, (256, 192))
    moved = cv2.warpAffine(face, matrix, (256, 192))
    return (scene * (1 - mask[..., None]) + moved * mask[..., None]).astype(np.uint8), mask


@pytest.fixture
def world() -> tuple[np.ndarray, np.ndarray]:
    """A scene and a face with structure of their own."""
    noise = np.random.default_rng(2).normal(0, 255, (64, 64, 3)).astype(np.float32)
    face = np.clip(128 + cv2.GaussianBlur(noise, (0, 0), 3), 0, 255).astype(np.uint8)
    return background(192, 256, seed=1), face


def noisy(values: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    return values + rng.normal(0, amount, values.shape)


def test_zero_is_off_and_bad_strengths_are_refused():
    probability = np.random.default_rng(0).random((192, 256), dtype=np.float32)
    image = np.zeros((192, 256, 3), np.uint8)
    off = FaceMemory(0).smooth
    assert off(probability, image, WHOLE) is probability and off(probability, image, WHOLE) is probability
    for strength in (-0.1, 1, 1.5):
        with pytest.raises(ValueError, match="smoothing"):
            FaceMemory(strength)


@pytest.mark.parametrize("speed", [0, 1.5, 4])
def test_flicker_falls(world, speed):
    rng = np.random.default_rng(0)
    smooth = FaceMemory(0.6).smooth
    flicker = {"raw": [], "smoothed": []}
    before = None
    for step in range(25):
        image, truth = textured(60 + speed * step, 90 + 5 * np.sin(step / 3), *world)
        image = np.clip(noisy(image, rng, 4), 0, 255).astype(np.uint8)
        edge = cv2.GaussianBlur(noisy(np.zeros_like(truth), rng, 3).astype(np.float32), (0, 0), 2)
        raw = np.clip(0.8 * cv2.GaussianBlur(truth, (0, 0), 2) + edge, 0, 1).astype(np.float32)
        smoothed = smooth(raw, image, WHOLE)
        if before is not None:
            change, face = truth - before[0], truth > 0.9
            flicker["raw"].append(np.sqrt(np.mean((raw - before[1] - change)[face] ** 2)))
            flicker["smoothed"].append(np.sqrt(np.mean((smoothed - before[2] - change)[face] ** 2)))
        before = truth, raw, smoothed
    assert np.mean(flicker["smoothed"]) < 0.75 * np.mean(flicker["raw"])


def test_a_moving_mask_does_not_lag(world):
    rng = np.random.default_rng(0)
    smooth = FaceMemory(0.6).smooth
    lags = []
    for step in range(25):
        image, truth = textured(60 + 4 * step, 90 + 5 * np.sin(step / 3), *world)
        image = np.clip(noisy(image, rng, 4), 0, 255).astype(np.uint8)
        smoothed = smooth(truth, image, WHOLE)
        lags.append(np.nonzero(truth > 0.5)[1].mean() - np.nonzero(smoothed > 0.5)[1].mean())
    # An average without regard to motion would trail by 0.6 / 0.4 = 1.5 frames: 6 pixels.
    assert abs(np.mean(lags[5:])) < 0.4


def test_nothing_stays_where_the_face_was(world):
    smooth = FaceMemory(0.7).smooth
    for _ in range(5):
        image, truth = textured(60, 90, *world)
        smooth(truth, image, WHOLE)
    image, truth = textured(190, 90, *world)  # further than any flow can follow
    smoothed = smooth(truth, image, WHOLE)
    assert smoothed[:, :100].mean() < 0.15 * truth[:, 156:].mean()
    assert smoothed[truth > 0.9].mean() > 0.8
    smoothed = smooth(truth, image, WHOLE)
    smoothed = smooth(truth, image, WHOLE)
    assert np.abs(smoothed - truth)[:, :100].mean() < 0.01


def test_a_face_that_vanishes_vanishes(world):
    smooth = FaceMemory(0.8).smooth
    image, truth = textured(128, 90, *world)
    for _ in range(5):
        smooth(truth, image, WHOLE)
    smoothed = smooth(np.zeros_like(truth), world[0], WHOLE)
    assert smoothed[truth > 0.9].mean() < 0.2


def test_another_crop_of_the_same_scene_keeps_the_mask_in_place(world):
    scene, face = world
    frame, truth = textured(128, 96, scene, face)
    smooth = FaceMemory(0.7).smooth
    for _ in range(3):
        smooth(truth, frame, WHOLE)
    crop = Crop(Region(64, 48, 192, 144), (192, 256))

    def cut(array):
        return cv2.resize(array[48:144, 64:192], (256, 192), interpolation=cv2.INTER_LINEAR)

    smoothed = smooth(np.zeros((192, 256), np.float32), cut(frame), crop)  # all that is left is the old mask
    old = cut(truth)
    assert np.corrcoef(smoothed.ravel(), old.ravel())[0, 1] > 0.95
    assert 0.3 < smoothed[old > 0.9].mean() <= 0.7
    other_size = smooth(
        np.zeros((256, 192), np.float32),
        np.zeros((256, 192, 3), np.uint8),
        Crop(Region(0, 0, 192, 256), (256, 192)),
    )
    assert other_size.shape == (256, 192)
