"""Where examples look: on one face, as the detector does, or on none; picture and mask stay together."""

import cv2
import numpy as np
import pytest

from faces.crops import crop_face
from faces.mask import Region
from training.crops import (
    background_window,
    face_boxes,
    face_crop,
    into_picture,
    matrix_to,
    random_angle,
    random_crop,
    random_face,
    warp,
)
from training.demo import DemoFaces

DRAWS = 400


def drawing(height=120, width=90):
    """A mask that no flip or quarter turn maps onto itself, with 128 in it; and the image that shows it."""
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (40, 50), (20, 30), 20, 0, 360, 255, -1)
    cv2.rectangle(mask, (50, 60), (70, 80), 255, -1)
    cv2.rectangle(mask, (20, 90), (60, 105), 128, -1)
    return np.dstack([mask] * 3), mask


def face(box=(100, 80, 60, 80), height=300, width=320):
    mask = np.zeros((height, width), np.uint8)
    x, y, w, h = box
    mask[y : y + h, x : x + w] = 255
    return mask


def inside(mask, matrix, size=64):
    """Return where a (size, size) example shows the picture itself, not its reflection."""
    return cv2.warpAffine(np.full(mask.shape, 255, np.uint8), matrix, (size, size)) == 255


def crops(mask, size=64, draws=DRAWS):
    """The matrices that are drawn, each with the centre, side and angle of the square that it shows."""
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        matrix = random_crop(mask, random_face(mask, rng), size, rng)
        inverse = cv2.invertAffineTransform(matrix)
        centre = inverse @ (size / 2, size / 2, 1)
        side = size / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
        angle = np.degrees(np.arctan2(-matrix[0, 1], matrix[1, 1]))
        yield matrix, centre, side, angle


def test_each_face_has_its_box_and_tiny_ones_have_none():
    mask = face() | face((200, 90, 50, 60)) | face((20, 20, 8, 9)) | face((20, 200, 20, 12))
    assert face_boxes(mask) == [(100, 80, 60, 80), (200, 90, 50, 60)]
    assert face_boxes(np.zeros((50, 50), np.uint8)) == []
    assert face_boxes(face((5, 5, 20, 23))) == []
    seen = {random_face(mask, np.random.default_rng(seed)) for seed in range(20)}
    assert seen == set(face_boxes(mask))


def test_parts_of_one_face_are_one():
    cut = face()
    cut[118:123] = 0  # by a finger
    assert face_boxes(cut) == [(100, 80, 60, 80)]
    apart = face((100, 80, 20, 20)) | face((140, 130, 20, 30))
    apart[80:160, 100:160][apart[80:160, 100:160] == 0] = 128  # what is between is not judged
    assert face_boxes(apart) == [(100, 80, 60, 80)]


def test_most_crops_are_squares_about_the_face():
    mask = face()
    sides = np.array([side for _, _, side, _ in crops(mask)]) / 80
    near = (sides > 1.2) & (sides < 2.9)
    assert 0.65 < near.mean() < 0.8
    counts, _ = np.histogram(np.log(sides[near]), np.log([1.45, 1.65, 1.9, 2.2]))
    assert counts.min() > 0.6 * counts.max()  # as many of each scale
    away = np.array([centre for _, centre, _, _ in crops(mask)])[near] - (130, 120)
    assert (np.abs(away) < 80 * 0.5).mean() > 0.95
    assert away.std(axis=0).min() > 5  # off-centre


def test_in_a_tenth_of_the_crops_the_face_is_larger_than_the_frame():
    mask = face()
    drawn = list(crops(mask))
    small = [number for number, (_, _, side, _) in enumerate(drawn) if 0.55 * 80 < side < 1.2 * 80]
    assert 0.04 < len(small) / DRAWS < 0.12
    full = [warp(np.dstack([mask] * 3), mask, drawn[number][0], 64)[1] for number in small]
    assert np.median([np.mean(shown != 0) for shown in full]) > 0.5


def test_some_examples_show_the_picture_as_it_is():
    sides = np.array([side for _, _, side, _ in crops(face())]) / 320
    assert 0.12 < ((sides > 0.84) & (sides < 1.16)).mean() < 0.27


def test_a_picture_without_a_face_is_seen_whole_and_from_near():
    sides = np.array([side for _, _, side, _ in crops(np.zeros((300, 320), np.uint8))]) / 300
    assert 0.12 < (sides > 0.9).mean() < 0.4
    assert (sides < 0.5).mean() > 0.2


def test_heads_lean_and_few_hang_upside_down():
    rng = np.random.default_rng(0)
    angles = np.abs([random_angle(rng) for _ in range(5000)])
    assert 0.06 < ((angles > 35) & (angles < 75)).mean() < 0.1
    assert 0.002 < (angles > 135).mean() < 0.01
    assert 10 < np.median(angles) < 13


def test_half_of_the_examples_are_mirrored():
    mirrored = [np.linalg.det(matrix[:, :2]) < 0 for matrix, *_ in crops(face())]
    assert 0.4 < np.mean(mirrored) < 0.6


def test_few_examples_look_beside_the_face():
    mask = face()
    image = np.dstack([mask] * 3)
    none = 0
    for seed, (matrix, *_) in enumerate(crops(mask)):
        none += not warp(image, mask, matrix, 64, np.random.default_rng(seed))[1].any()
    assert 0 < none / DRAWS < 0.025


def test_windows_on_the_background_cut_no_face():
    _, mask = drawing()
    windows = [background_window(mask, np.random.default_rng(seed)) for seed in range(100)]
    for x, y, side in windows:  # never None: there is room above
        assert x >= 0 and y >= 0 and x + side <= 90 and y + side <= 120
        assert not mask[y : y + side, x : x + side].any()
        assert 17 <= side <= 45
    assert len(set(windows)) > 90
    assert max(side for _, _, side in windows) > 25
    for no_room in (np.full((50, 50), 255, np.uint8), np.pad(np.full((46, 46), 255, np.uint8), 2)):
        assert background_window(no_room, np.random.default_rng(0)) is None


def test_the_crop_of_a_face_is_that_of_inference():
    image = np.random.default_rng(0).integers(0, 256, (300, 320, 3)).astype(np.uint8)
    for box in ((100, 80, 60, 80), (5, 200, 60, 70)):
        x, y, width, height = box
        crop = crop_face(Region(x, y, x + width, y + height), 0, image.shape, 160, 160)
        shown, _ = warp(image, face(box), face_crop(box, image.shape[:2], 160), 160)
        assert np.abs(shown.astype(int) - crop.cut(image)).mean() < 3


@pytest.mark.parametrize("seed", range(20))
def test_image_and_mask_are_warped_alike(seed):
    image, mask = drawing()
    rng = np.random.default_rng(seed)
    matrix = random_crop(mask, random_face(mask, rng), 64, rng)
    warped_image, warped_mask = warp(image, mask, matrix, 64)
    assert warped_image.shape == (64, 64, 3)
    assert set(np.unique(warped_mask)) <= {0, 128, 255}
    plain = cv2.erode(warped_mask, np.ones((5, 5))) == cv2.dilate(warped_mask, np.ones((5, 5)))
    plain[:3], plain[-3:], plain[:, :3], plain[:, -3:] = False, False, False, False
    plain &= inside(mask, matrix)
    difference = np.abs(warped_image.astype(int) - warped_mask[..., None])[plain]
    assert plain.any()
    assert (difference > 40).mean() < 0.005


def test_channels_are_not_mixed_up():
    """Flips and turns of the wrong axes would swap red and blue, or mix channels with rows or columns."""
    image, mask = DemoFaces(1, 96)[0]
    for seed in range(10):
        matrix = random_crop(mask, None, 64, np.random.default_rng(seed))
        warped, _ = warp(image, mask, matrix, 64)
        for channel in range(3):
            alone, _ = warp(np.dstack([image[..., channel]] * 3), mask, matrix, 64)
            assert np.array_equal(warped[..., channel], alone[..., channel])


def test_outside_the_picture_is_its_edge_a_plain_colour_or_its_reflection():
    image, mask = np.full((40, 40, 3), 7, np.uint8), np.full((40, 40), 255, np.uint8)
    image[:, 0] = 9
    matrix = np.array([[1.0, 0, 20], [0, 1.0, 0]])
    seen = []
    for seed in range(60):
        warped_image, warped_mask = warp(image, mask, matrix, 40, np.random.default_rng(seed))
        outside = warped_image[:, :18]
        assert (warped_mask[:, 22:] == 255).all()
        if (outside == 9).all():  # what is repeated of a face is no face that anyone sees
            assert (warped_mask[:, :19] == 128).all()
            seen.append("edge")
        elif (outside == 7).all():
            assert (warped_mask[:, :18] == 128).all()
            seen.append("reflection")
        else:
            assert (outside == outside[0, 0]).all()
            assert not warped_mask[:, :18].any()
            seen.append("colour" if outside.any() else "black")
    assert set(seen) == {"edge", "reflection", "colour", "black"}
    assert seen.count("reflection") > len(seen) / 2  # as in the crops at inference


def test_a_background_that_is_repeated_stays_background():
    image, mask = np.full((40, 40, 3), 7, np.uint8), np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    _, warped = warp(image, mask, np.array([[1.0, 0, 20], [0, 1.0, 0]]), 60)
    assert set(np.unique(warped[:40, 20:])) == {0, 255}
    assert set(np.unique(warped[:, :20])) == {0, 128}  # only the reflected face is not judged
    assert not warped[:10].any()


def test_squares_about_a_face_are_moved_into_the_picture_most_often():
    near_corner = face((10, 5, 60, 80))
    inside = 0
    for matrix, *_ in crops(near_corner):
        corners = cv2.invertAffineTransform(matrix) @ [[32], [32], [1]]
        side = 64 / np.sqrt(abs(np.linalg.det(matrix[:, :2])))
        inside += (corners.ravel() >= side / 2 * 0.98).all() and (
            corners.ravel() + side / 2 <= (330, 310)
        ).all()
    assert inside / DRAWS > 0.5
    assert into_picture((30, 45), 160, (300, 320))[0].tolist() == [80, 80]
    centre, side = into_picture((150, 130), 500, (300, 320))
    assert side == 320
    assert centre.tolist() == [160, 130]  # the picture's width; higher than it is: left where it was


@pytest.mark.parametrize("scale", [0.1, 0.23, 0.31, 0.59])
def test_shrinking_keeps_every_place(scale):
    """The centre of a circle goes where the matrix says, however often the picture is halved on the way."""
    mask = np.zeros((301, 203), np.uint8)
    cv2.circle(mask, (120, 170), 50, 255, -1)
    matrix = np.array([[scale, 0, 31.3 - 120 * scale], [0, scale, 29.6 - 170 * scale]])
    image, mask = warp(np.dstack([mask] * 3), mask, matrix, 64)
    shown = inside(np.zeros((301, 203)), matrix)
    for plane in (mask, image[..., 1]):
        moments = cv2.moments(plane * shown)
        assert moments["m10"] / moments["m00"] == pytest.approx(31.3, abs=0.3)
        assert moments["m01"] / moments["m00"] == pytest.approx(29.6, abs=0.3)
        assert moments["m00"] / 255 == pytest.approx(np.pi * (50 * scale) ** 2, rel=0.15)


def test_fine_detail_is_averaged_and_not_noise():
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    matrix = np.array([[0.2, 0, 0], [0, 0.2, 0]])
    warped, _ = warp(np.dstack([board] * 3), np.zeros_like(board), matrix, 48)
    assert np.abs(warped[8:-8, 8:-8].astype(int) - 127).max() <= 2


def test_a_turned_window_shows_no_more_than_itself():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        matrix = matrix_to((50, 50), 20, 64, rng.uniform(-90, 90), rng, inside=True)
        corners = cv2.invertAffineTransform(matrix) @ [[0, 0, 64, 64], [0, 64, 0, 64], [1, 1, 1, 1]]
        assert (np.abs(corners - 50) <= 10 + 1e-6).all()
