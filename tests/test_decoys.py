"""Decoys have the skin's colour where they are meant to, and leave the face as it is."""

import cv2
import numpy as np
import pytest

from augment import augment
from decoys import paint_shapes, skin_tones, tint_background

SKIN = (200.0, 140.0, 110.0)  # RGB


def scene():
    """A face of SKIN, its lower half darker, before blue that grows lighter; unjudged below."""
    image = np.zeros((96, 96, 3), np.uint8)
    image[:] = np.linspace(40, 220, 96)[None, :, None] * np.array([0.2, 0.4, 1.0])
    mask = np.zeros((96, 96), np.uint8)
    cv2.circle(mask, (48, 44), 24, 255, -1)
    image[mask == 255] = SKIN
    image[48:][mask[48:] == 255] = np.array(SKIN) / 2
    mask[80:] = 128
    return image, mask


def chroma(image):
    """Each pixel's share of red, green and blue."""
    total = image.sum(axis=-1, keepdims=True, dtype=float)
    return image / np.maximum(total, 1)


def test_tones_are_colours_of_the_face():
    tones = skin_tones(*scene())
    assert tones == pytest.approx(np.array([SKIN, SKIN]) * [[0.5], [1.0]], abs=1)
    assert skin_tones(scene()[0], np.zeros((96, 96), np.uint8)) is None


def test_tinted_background_has_the_skins_colour_and_its_own_brightness():
    image, mask = scene()
    tones = skin_tones(image, mask)
    inside = cv2.erode((mask > 0).astype(np.uint8), np.ones((7, 7))) > 0
    outside = cv2.dilate((mask > 0).astype(np.uint8), np.ones((7, 7))) == 0
    brightness = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(int)
    skin, moved = chroma(np.array(SKIN)), []
    for seed in range(40):
        tinted = tint_background(image, mask, tones, np.random.default_rng(seed))
        assert np.array_equal(tinted[inside], image[inside])  # the face, and what is not judged
        kept = np.abs(cv2.cvtColor(tinted, cv2.COLOR_RGB2GRAY).astype(int) - brightness)
        assert kept[outside & (brightness < 120)].max() <= 2  # brighter ones may be cut at 255
        before, after = (np.abs(chroma(each) - skin).sum(axis=-1) for each in (image, tinted))
        changed = outside & (tinted != image).any(axis=-1)
        assert (after[changed] < before[changed] + 0.02).all()
        assert after[changed].mean() < 0.7 * before[changed].mean()
        moved.append(changed.sum() / outside.sum())
    assert 5 < np.sum(np.array(moved) > 0.99) < 35  # the whole background now and then, a part otherwise
    assert np.mean(moved) > 0.3


def test_shapes_have_the_tones_and_leave_the_rest():
    rng = np.random.default_rng(0)
    image = np.tile(np.array([20, 60, 200], np.uint8), (96, 96, 1))
    tones = np.array([SKIN, SKIN]) * [[0.5], [1.0]]
    shares = []
    for _ in range(40):
        painted = paint_shapes(image, tones, rng)
        assert painted.dtype == np.uint8 and painted.shape == image.shape
        like_skin = np.abs(chroma(painted) - chroma(np.array(SKIN))).sum(axis=-1) < 0.05
        same = (painted == image).all(axis=-1)
        assert (like_skin | same).mean() > 0.6  # between them are soft edges
        shares.append(like_skin.mean())
    assert np.min(shares) > 0.02 and np.max(shares) < 0.9
    assert np.std(shares) > 0.05


def test_examples_have_decoys():
    """Skin's colour turns up in the background, whole or in shapes, and no example calls it face."""
    image, mask = scene()
    faces, without = [], []
    for seed in range(300):
        example, example_mask = augment(image, mask, 64, np.random.default_rng(seed), gentle=True)
        background = example[example_mask == 0]
        is_warm = (background[:, 0] > background[:, 2].astype(int) + 15).mean() > 0.1
        (faces if example_mask.any() else without).append(is_warm)
    assert 0.02 < np.mean(faces) < 0.4
    assert np.mean(without) > 0.3
