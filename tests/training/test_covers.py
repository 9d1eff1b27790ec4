"""What is put on and before faces: where it is drawn, and what the mask says of it."""

import cv2
import numpy as np
import pytest

from training import covers, hands, things

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
def place(other):
    return covers.Place(np.eye(3)[:2], BOX, other)


@pytest.fixture
def other():
    """A picture of 150x200 of noise, in green."""
    noise = np.random.default_rng(0).integers(0, 256, (150, 200)).astype(np.uint8)
    return np.dstack([noise // 3, noise, noise // 3])


@pytest.fixture
def arm_photo():
    """A picture of 240x180 with an arm of skin that comes in from below, on blue."""
    photo = np.full((240, 180, 3), (70, 90, 150), np.uint8)
    cv2.line(photo, (90, 250), (90, 100), SKIN, 40)
    cv2.circle(photo, (90, 90), 34, SKIN, -1)
    return photo


def draws(function, *arguments, count=30):
    for seed in range(count):
        yield function(*arguments, np.random.default_rng(seed))


def changed(image, result):
    return (np.abs(result.astype(int) - image) > 8).any(axis=2)


def test_place_goes_with_the_face():
    turned = covers.Place(np.array([[0.0, -2, 300], [2, 0, 10]]), (10, 20, 30, 40))
    assert turned([(0, 0), (1, 1), (0.5, 0)]).tolist() == [[260, 30], [180, 90], [260, 60]]
    assert turned.width == 60
    assert turned.upright.tolist() == [[0, -1], [1, 0]]
    mirrored = covers.Place(np.array([[-2.0, 0, 300], [0, 2, 10]]), (10, 20, 30, 40))
    assert mirrored.upright.tolist() == [[1, 0], [0, 1]]  # what is drawn upright stays readable


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


def test_cloth_masks_are_no_face(face, place):
    image, mask = face
    mouths, noses, colours = [], [], []
    for result, result_mask in draws(covers.draw_cloth_mask, image, mask, place, count=60):
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


def test_an_arm_is_found_with_its_root_and_its_tip(arm_photo):
    hand = hands.find_hand(arm_photo)
    height, width = hand.cover.shape
    assert height / width == pytest.approx(184 / 68, rel=0.1)
    assert hand.root == pytest.approx((width / 2, height - 1), abs=3)
    assert hand.tip == pytest.approx((width / 2, 0), abs=width / 4)
    assert np.abs(hand.image[hand.cover > 0].astype(int) - SKIN).mean() < 8


def test_no_hand_is_found_where_nothing_looks_like_one(arm_photo):
    rng = np.random.default_rng(0)
    speckled = np.clip(arm_photo + rng.normal(0, 40, arm_photo.shape), 0, 255).astype(np.uint8)
    ball = cv2.circle(
        np.full((200, 200, 3), (70, 90, 150), np.uint8), (100, 100), 50, SKIN, -1
    )  # touches no edge
    for photo in (speckled, ball, np.full((50, 80, 3), SKIN, np.uint8), np.zeros((1, 1, 3), np.uint8)):
        assert hands.find_hand(photo) is None


@pytest.mark.parametrize("colour", [(140, 60, 120), (140, 140, 60)], ids=["velvet", "grass"])
def test_cloth_and_grass_in_the_shape_of_an_arm_are_no_hand(arm_photo, colour):
    arm = (arm_photo == SKIN).all(axis=2)
    arm_photo[arm] = colour
    assert hands.find_hand(arm_photo) is None


def test_a_hand_has_the_tone_of_the_face_and_is_none(face, place, arm_photo):
    image, mask = face
    image[mask > 0] = (120, 80, 60)  # darker than the arm
    hand, shares, roots = hands.find_hand(arm_photo), [], []
    for result, result_mask in draws(hands.lay_hand, image, mask, place, hand):
        gone = (mask == 255) & (result_mask == 0)
        assert np.array_equal(result_mask[~gone], mask[~gone])
        shares.append(gone.sum() / (mask > 0).sum())
        laid = changed(image, result) & (mask == 0)
        roots.append(np.argwhere(laid).mean(axis=0)[0] > 64 if laid.sum() > 100 else True)
        assert np.abs(np.median(result[gone], axis=0) - (120, 80, 60)).max() < 35
    assert min(shares) > 0.05
    assert max(shares) < 0.55
    assert np.mean(roots) > 0.5  # most arms come from below
    nobody = np.zeros_like(mask)
    assert hands.lay_hand(image, nobody, place, hand, np.random.default_rng(0))[0] is image


def test_a_thick_arm_too_leaves_half_of_the_face(face, place, arm_photo):
    image, mask = face
    hand = hands.find_hand(arm_photo)
    thick = hand._replace(cover=np.full_like(hand.cover, 255))
    laid = [after for _, after in draws(hands.lay_hand, image, mask, place, thick, count=60)]
    assert 0.3 < max(np.mean(after[mask == 255] == 0) for after in laid) < 0.55


def test_an_arm_goes_off_in_its_direction(place, arm_photo):
    hand = hands.find_hand(arm_photo)
    for angle, flip in ((0, False), (90, True), (200, True)):
        matrix = hands.hand_matrix(hand, place, (0.5, 0.5), angle, 50, flip)
        arm = matrix[:, :2] @ (hand.root - hand.tip)
        assert arm == pytest.approx(50 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]))


@pytest.mark.parametrize("picture", [True, False])
@pytest.mark.parametrize("function", [things.draw_thing, things.put_before])
def test_things_before_a_face_are_no_face(face, place, function, picture):
    image, mask = face
    place.other = place.other if picture else None
    shares = []
    for result, result_mask in draws(function, image, mask, place, count=60):
        gone = (mask == 255) & (result_mask == 0)
        assert set(np.unique(result_mask)) <= {0, 255}
        assert not (result_mask[mask == 0]).any()
        untouched = ~changed(image, result)
        assert (result_mask[untouched] == mask[untouched]).mean() > 0.99
        shares.append(gone.sum() / (mask > 0).sum())
    assert np.mean(np.array(shares) > 0.02) > 0.5
    assert max(shares) < 0.9


def test_hair_falls_from_above_and_only_dense_hair_is_no_face(face, place):
    image, mask = face
    hidden, open_, lowest = 0, 0, []
    for result, result_mask in draws(things.draw_hair, image, mask, place):
        where = changed(image, result)
        assert where.any()
        assert not result_mask[mask == 0].any()
        strokes = where & (mask == 255)
        hidden += (result_mask[strokes] == 0).sum()
        open_ += (result_mask[strokes] == 255).sum()
        assert set(np.unique(result_mask)) <= {0, 128, 255}
        lowest.append(np.argwhere(where)[:, 0].max())
    assert hidden > 0 and open_ > 0
    assert np.ptp(lowest) > 30  # fringes, and locks across the face


def test_nothing_is_changed_in_place(face, place, arm_photo):
    image, mask = face
    before = image.copy(), mask.copy()
    for seed in range(5):
        covers.draw_glasses(image, mask, place, np.random.default_rng(seed))
        covers.draw_cloth_mask(image, mask, place, np.random.default_rng(seed))
        hands.lay_hand(image, mask, place, hands.find_hand(arm_photo), np.random.default_rng(seed))
        things.draw_thing(image, mask, place, np.random.default_rng(seed))
        things.put_before(image, mask, place, np.random.default_rng(seed))
        things.draw_hair(image, mask, place, np.random.default_rng(seed))
    assert np.array_equal(image, before[0]) and np.array_equal(mask, before[1])


def test_blending_is_as_opaque_as_it_says():
    image = np.full((1, 3, 3), 100, np.uint8)
    result = covers.blend(image, 201.0, np.array([[0, 127.5, 255]]))
    assert result[0, :, 0].tolist() == [100, 150, 201]
