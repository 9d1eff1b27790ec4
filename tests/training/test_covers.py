"""What is put on and before faces: where it is drawn, and what the mask says of it."""

import cv2
import numpy as np
import pytest

from training import covers

BOX = (32, 24, 64, 80)  # of the face in a picture of 128x128
SKIN = (200, 150, 120)


@pytest.fixture
def face():
    """A picture with an oval of skin on blue, and its mask."""
    mask = np.zeros((128, 128), np.uint8)
    cv2.ellipse(mask, (64, 64), (32, 40), 0, 0, 360, 255, -1)
    image = np.full((128, 128, 3), (40, 60, 160), np.uint8)
    image[mask > 0] = SKIN
    return image, mask


@pytest.fixture
def place():
    return covers.Place(np.eye(3)[:2], BOX)


@pytest.fixture
def other():
    """A picture of 150x200 of noise, in green."""
    noise = np.random.default_rng(0).integers(0, 256, (150, 200)).astype(np.uint8)
    return np.dstack([noise // 3, noise, noise // 3])


def draws(function, *arguments, count=30):
    for seed in range(count):
        yield function(*arguments, np.random.default_rng(seed))


def changed(image, result):
    return (np.abs(result.astype(int) - image) > 8).any(axis=2)


def test_place_goes_with_the_face():
    turned = covers.Place(np.array([[0.0, -2, 300], [2, 0, 10]]), (10, 20, 30, 40))
    assert turned([(0, 0), (1, 1), (0.5, 0)]).tolist() == [[260, 30], [180, 90], [260, 60]]
    assert turned.width == 60


def test_glasses_are_face(face, place):
    image, mask = face
    darker = []
    for result, result_mask in draws(covers.draw_glasses, image, mask, place):
        assert np.array_equal(result_mask, mask)
        where = changed(image, result)
        assert not where[mask == 0].any()
        assert not where[90:].any() and not where[:36].any()  # below the nose, on the forehead
        assert where[58:60, 44:50].any() and where[58:60, 78:84].any()  # on both eyes
        darker.append(result[58, 47].mean() < image[58, 47].mean() - 40)
    assert np.mean(darker) > 0.7


def test_cloth_masks_are_no_face(face, place, other):
    image, mask = face
    mouths, noses, colours = [], [], []
    for result, result_mask in draws(covers.draw_cloth_mask, image, mask, place, other, count=60):
        gone = (mask == 255) & (result_mask == 0)
        assert set(np.unique(result_mask)) <= {0, 255}
        assert not gone[:50].any()  # eyes stay
        assert gone[100].sum() > 0.8 * (mask[100] > 0).sum()  # the chin
        assert (gone & changed(image, result)).sum() > 0.75 * gone.sum()
        assert changed(image, result)[(mask == 0) & (np.arange(128)[:, None] > 60)].mean() < 0.1
        mouths.append(gone[88, 64])
        noses.append(gone[70, 64])
        colours.append(result[gone].mean(axis=0))
    assert 0.75 < np.mean(mouths) < 1  # the rest hangs at the chin
    assert 0.4 < np.mean(noses) < 0.95
    assert np.std(colours, axis=0).min() > 30


def test_patterns_are_plain_striped_spotted_or_printed(other):
    deviations = [
        covers.pattern((64, 64), other, np.random.default_rng(seed)).std(axis=(0, 1)).max()
        for seed in range(60)
    ]
    assert 0.3 < np.mean(np.array(deviations) < 1) < 0.7


def test_a_hand_has_the_skin_of_the_face_and_is_none(face, place):
    image, mask = face
    area = []
    for result, result_mask in draws(covers.draw_hand, image, mask, place):
        gone = (mask == 255) & (result_mask == 0)
        assert np.array_equal(result_mask[~gone], mask[~gone])
        area.append(gone.sum() / (mask > 0).sum())
        hand = changed(image, result) & (mask == 0)
        if hand.sum() > 20:
            red, green, blue = np.median(result[hand], axis=0)
            assert red > green > blue
    assert np.mean(np.array(area) > 0.02) > 0.7
    assert max(area) < 0.75
    nobody = np.zeros_like(mask)
    assert covers.draw_hand(image, nobody, place, np.random.default_rng(0))[0] is image


def test_things_before_a_face_are_no_face(face, place, other):
    image, mask = face
    for picture in (other, None):
        gone_share, green = [], []
        for result, result_mask in draws(covers.put_before, image, mask, place, picture, count=60):
            gone = (mask == 255) & (result_mask == 0)
            assert set(np.unique(result_mask)) <= {0, 255}
            assert not (result_mask[mask == 0]).any()
            untouched = ~changed(image, result)
            assert (result_mask[untouched] == mask[untouched]).mean() > 0.99
            gone_share.append(gone.mean())
            if gone.sum() > 50:
                colour = result[gone].mean(axis=0)
                green.append(colour.argmax() == 1)
        assert np.mean(np.array(gone_share) > 0.005) > 0.5
        assert (np.mean(green) > 0.7) == (picture is not None)


def test_skin_is_cut_out_along_its_edge():
    image = np.full((64, 64, 3), (30, 90, 60), np.uint8)
    cv2.circle(image, (32, 40), 14, SKIN, -1)
    expected = np.zeros((64, 64), np.uint8)
    cv2.circle(expected, (32, 40), 14, 255, -1)
    found = covers.skin_like(image)
    assert ((found > 0) != (expected > 0)).mean() < 0.01
    assert covers.skin_like(np.full((64, 64, 3), (30, 90, 60), np.uint8)) is None  # none
    assert covers.skin_like(np.full((64, 64, 3), SKIN, np.uint8)) is None  # nothing else


def test_hair_falls_over_the_forehead_and_only_dense_hair_is_no_face(face, place):
    image, mask = face
    hidden, open_ = 0, 0
    for result, result_mask in draws(covers.draw_hair, image, mask, place):
        where = changed(image, result)
        assert where.any()
        assert not where[76:].any()
        assert np.array_equal(result_mask[76:], mask[76:])
        assert not result_mask[mask == 0].any()
        strokes = where & (mask == 255)
        hidden += (result_mask[strokes] == 0).sum()
        open_ += (result_mask[strokes] == 255).sum()
        assert set(np.unique(result_mask)) <= {0, 128, 255}
    assert hidden > 0 and open_ > 0


@pytest.mark.parametrize("name", ["draw_glasses", "draw_cloth_mask", "draw_hand", "put_before", "draw_hair"])
def test_nothing_is_changed_in_place(face, place, other, name):
    image, mask = face
    before = image.copy(), mask.copy()
    more = (other,) if name in ("draw_cloth_mask", "put_before") else ()
    for _ in draws(getattr(covers, name), image, mask, place, *more, count=5):
        pass
    assert np.array_equal(image, before[0]) and np.array_equal(mask, before[1])


def test_blending_is_as_opaque_as_it_says():
    image = np.full((1, 3, 3), 100, np.uint8)
    result = covers.blend(image, 201.0, np.array([[0, 127.5, 255]]))
    assert result[0, :, 0].tolist() == [100, 150, 201]
