"""The whole augmentation: labels stay labels, an example follows from its seed, nothing is too frequent."""

import time

import cv2
import numpy as np
import pytest

from training import augment as module
from training.augment import augment
from training.demo import DemoFaces
from training.hands import Hand

DRAWS = 300


@pytest.fixture
def pair():
    """A picture of 160x160 with an oval face of a colour that nothing else has, and 128 below it."""
    mask = np.zeros((160, 160), np.uint8)
    cv2.ellipse(mask, (80, 75), (30, 42), 0, 0, 360, 255, -1)
    mask[130:140, 60:100] = 128
    image = np.full((160, 160, 3), (60, 90, 70), np.uint8)
    image[mask == 255] = (210, 160, 130)
    return image, mask


def examples(pair, draws=DRAWS, size=64):
    other = np.full((80, 80, 3), (20, 40, 200), np.uint8)
    arm = Hand(other[:60, :20], np.full((60, 20), 255, np.uint8), np.array([10.0, 59]), np.array([10.0, 0]))
    for seed in range(draws):
        yield augment(*pair, size, np.random.default_rng(seed), other, arm)


def test_labels_stay_labels_and_unjudged_pixels_survive(pair):
    kept = 0
    for image, mask in examples(pair):
        assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)
        assert (mask.shape, mask.dtype) == ((64, 64), np.uint8)
        assert set(np.unique(mask)) <= {0, 128, 255}
        kept += (mask == 128).sum() > 10
    assert kept > 0.6 * DRAWS


def test_inputs_are_left_as_they_are(pair):
    before = [array.copy() for array in pair]
    for _ in examples(pair, 30):
        pass
    assert all(np.array_equal(array, old) for array, old in zip(pair, before))


def test_result_follows_from_the_generator():
    image, mask = DemoFaces(1, 64)[0]
    one, other = (augment(image, mask, 48, np.random.default_rng(3)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other))
    assert not np.array_equal(augment(image, mask, 48, np.random.default_rng(4))[0], one[0])


def test_faces_fill_a_part_of_the_example_and_none_is_tiny(pair):
    sizes = np.array([max(cv2.boundingRect((m == 255).astype(np.uint8))[2:]) / 64 for _, m in examples(pair)])
    assert (sizes == 0).mean() < 0.04
    assert (sizes[sizes > 0] > 0.25).mean() > 0.95
    assert 0.4 < np.median(sizes) < 0.7


def test_covers_are_seldom_and_all_come(pair, monkeypatch):
    names = ("draw_hair", "draw_glasses", "draw_cloth_mask", "draw_thing", "put_before", "lay_hand")
    counts = dict.fromkeys(names, 0)

    def counting(name):
        def cover(image, mask, *more):
            counts[name] += 1
            return image, mask

        return cover

    for name in counts:
        monkeypatch.setattr(module, name, counting(name))
    for _ in examples(pair):
        pass
    assert 0.15 < counts.pop("lay_hand") / DRAWS < 0.35  # the network takes hands for skin
    assert all(0.02 < count / DRAWS < 0.18 for count in counts.values()), counts
    assert sum(counts.values()) < 0.4 * DRAWS


def test_without_a_face_the_colours_change_freely():
    image = np.full((50, 50, 3), (200, 100, 50), np.uint8)
    mask = np.zeros((50, 50), np.uint8)
    looks = [
        augment(image, mask, 32, np.random.default_rng(seed))[0].mean(axis=(0, 1)) for seed in range(100)
    ]
    assert 0.15 < np.mean([look.argmax() != 0 for look in looks]) < 0.6


def test_dark_examples_are_brightened_as_at_inference(pair):
    brightest = [np.percentile(image, 99) for image, _ in examples((pair[0] // 6, pair[1]), 60)]
    assert np.mean(np.array(brightest) > 95) > 0.8  # a few are black


def test_what_has_the_colour_of_skin_is_seen_most_where_nobody_is():
    image = np.full((100, 100, 3), (60, 90, 120), np.uint8)
    image[70:90, 10:30] = (210, 160, 130)
    mask = np.zeros((100, 100), np.uint8)
    seen = 0
    for seed in range(100):
        result, result_mask = augment(image, mask, 32, np.random.default_rng(seed), gentle=True)
        assert not result_mask.any()
        seen += (result[..., 0] > result[..., 2] + 40).mean() > 0.03
    assert seen > 50


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2), (33, 33)])
@pytest.mark.parametrize("label", [0, 128, 255])
def test_odd_shapes_and_masks_of_one_label(shape, label):
    image, mask = np.zeros((*shape, 3), np.uint8), np.full(shape, label, np.uint8)
    for seed in range(5):
        result, result_mask = augment(image, mask, 32, np.random.default_rng(seed), image)
        assert result.shape == (32, 32, 3)
        assert set(np.unique(result_mask)) <= {0, 128, 255}


def test_an_example_takes_about_ten_milliseconds():
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8), (320, 320))
    mask = cv2.ellipse(np.zeros((320, 320), np.uint8), (160, 150), (60, 84), 0, 0, 360, 255, -1)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    started = time.process_time()
    for seed in range(50):
        augment(image, mask, 192, np.random.default_rng(seed), image)
    spent = (time.process_time() - started) / 50
    cv2.setNumThreads(threads)
    assert spent < 0.02  # 7 ms alone; a machine may be slow or shared


def test_gentle_examples_are_cropped_and_most_keep_their_look():
    image, mask = np.full((60, 60, 3), 190, np.uint8), np.zeros((60, 60), np.uint8)
    mask[15:45, 20:40] = 255
    kept = 0
    for seed in range(200):
        result, _ = augment(image, mask, 32, np.random.default_rng(seed), gentle=True)
        kept += set(np.unique(result)) <= {0, 190} or (result[16, 16] == 190).all()
    assert 140 < kept < 185
