"""Augmentation: image and mask stay together, labels stay labels, and faces of every size turn up."""

import cv2
import numpy as np
import pytest
from scenes import iou

from training import augment as module
from training.augment import augment, change_look, occlude, random_affine, warp
from training.demo import DemoFaces

DRAWS = 400


def drawing(height=120, width=90):
    """A mask that no flip or quarter turn maps onto itself, with 128 in it; and the image that shows it."""
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (40, 50), (20, 30), 20, 0, 360, 255, -1)
    cv2.rectangle(mask, (50, 60), (70, 80), 255, -1)
    cv2.rectangle(mask, (20, 90), (60, 105), 128, -1)
    return np.dstack([mask] * 3), mask


def away_from_edges(mask):
    """Pixels whose neighbours all have the same label."""
    plain = cv2.erode(mask, np.ones((5, 5))) == cv2.dilate(mask, np.ones((5, 5)))
    plain[:3], plain[-3:], plain[:, :3], plain[:, -3:] = False, False, False, False
    return plain


@pytest.mark.parametrize("seed", range(40))
def test_image_and_mask_are_warped_alike(seed):
    image, mask = drawing()
    rng = np.random.default_rng(seed)
    # A whole warp as augment does it, but for what makes the border another colour than the mask's 0.
    matrix = random_affine(mask, 64, rng)
    warped_image, warped_mask = warp(image, mask, matrix, 64, REFLECTION)
    assert warped_image.shape == (64, 64, 3)
    assert set(np.unique(warped_mask)) <= {0, 128, 255}
    plain = away_from_edges(warped_mask)
    difference = np.abs(warped_image.astype(int) - warped_mask[..., None])[plain]
    assert plain.any()
    assert (difference > 40).mean() < 0.005


def test_channels_are_not_mixed_up():
    """Flips and turns of the wrong axes would swap red and blue, or mix channels with rows or columns."""
    image, mask = DemoFaces(1, 96)[0]
    for seed in range(10):
        matrix = random_affine(mask, 64, np.random.default_rng(seed))
        warped, _ = warp(image, mask, matrix, 64, BLACK)
        for channel in range(3):
            alone, _ = warp(np.dstack([image[..., channel]] * 3), mask, matrix, 64, BLACK)
            assert np.array_equal(warped[..., channel], alone[..., channel])


class Drawing:
    """Stands in for the generator with which `warp` draws its border: below 0.5 a reflection, else black."""

    def __init__(self, number):
        self.number = number

    def random(self):
        return self.number

    def integers(self, low, high, count):
        return np.zeros(count, int)


REFLECTION, BLACK = Drawing(0.0), Drawing(0.9)


def test_border_of_a_plain_colour_is_background():
    image, mask = np.full((40, 40, 3), 7, np.uint8), np.full((40, 40), 255, np.uint8)
    matrix = np.array([[1.0, 0, 20], [0, 1.0, 0]])
    for seed in range(20):
        warped_image, warped_mask = warp(image, mask, matrix, 40, np.random.default_rng(seed))
        outside = warped_image[:, :18]
        if (warped_mask[:, :18] == 0).all():
            assert (outside == outside[0, 0]).all()
        else:
            assert (outside == 7).all()  # reflected, face and all
            assert (warped_mask == 255).all()
        assert (warped_mask[:, 22:] == 255).all()


@pytest.mark.parametrize("scale", [0.1, 0.23, 0.31, 0.59])
def test_shrinking_keeps_every_place(scale):
    """The centre of a circle goes where the matrix says, however often the picture is halved on the way."""
    mask = np.zeros((301, 203), np.uint8)
    cv2.circle(mask, (120, 170), 50, 255, -1)
    matrix = np.array([[scale, 0, 31.3 - 120 * scale], [0, scale, 29.6 - 170 * scale]])
    image, mask = warp(np.dstack([mask] * 3), mask, matrix, 64, BLACK)
    for plane in (mask, image[..., 1]):
        moments = cv2.moments(plane)
        assert moments["m10"] / moments["m00"] == pytest.approx(31.3, abs=0.3)
        assert moments["m01"] / moments["m00"] == pytest.approx(29.6, abs=0.3)
        assert moments["m00"] / 255 == pytest.approx(np.pi * (50 * scale) ** 2, rel=0.15)


def test_fine_detail_is_averaged_and_not_noise():
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    matrix = np.array([[0.2, 0, 3.3], [0, 0.2, 3.3]])
    warped, _ = warp(np.dstack([board] * 3), np.zeros_like(board), matrix, 40, REFLECTION)
    assert np.abs(warped[8:-8, 8:-8].astype(int) - 127).max() <= 2


def test_labels_stay_labels_and_unjudged_pixels_survive():
    image, mask = drawing()
    kept = 0
    for seed in range(100):
        result, result_mask = augment(image, mask, 64, np.random.default_rng(seed))
        assert (result.shape, result.dtype) == ((64, 64, 3), np.uint8)
        assert (result_mask.shape, result_mask.dtype) == ((64, 64), np.uint8)
        assert set(np.unique(result_mask)) <= {0, 128, 255}
        kept += (result_mask == 128).sum() > 10
    assert kept > 60


def test_inputs_are_left_as_they_are():
    image, mask = drawing()
    before = image.copy(), mask.copy()
    for seed in range(30):
        augment(image, mask, 64, np.random.default_rng(seed))
    assert np.array_equal(image, before[0])
    assert np.array_equal(mask, before[1])


def test_result_follows_from_the_generator():
    image, mask = DemoFaces(1, 64)[0]
    one, other = (augment(image, mask, 48, np.random.default_rng(3)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other))
    assert not np.array_equal(augment(image, mask, 48, np.random.default_rng(4))[0], one[0])


def face_sizes(image, mask, size):
    for seed in range(DRAWS):
        _, result = augment(image, mask, size, np.random.default_rng(seed))
        yield max(cv2.boundingRect((result == 255).astype(np.uint8))[2:]) / size


def test_faces_from_a_tenth_to_the_whole_frame_turn_up():
    image, mask = np.zeros((250, 250, 3), np.uint8), np.zeros((250, 250), np.uint8)
    cv2.ellipse(mask, (125, 125), (40, 55), 0, 0, 360, 255, -1)  # 0.44 of the frame
    sizes = np.array(list(face_sizes(image, mask, 64)))
    assert (sizes == 0).mean() > 0.01  # some show only background
    seen = sizes[sizes > 0]
    assert seen.min() < 0.15
    assert seen.max() > 0.9
    counts, _ = np.histogram(seen, [0, 0.2, 0.35, 0.5, 0.75, 1.01])
    assert (counts >= DRAWS * 0.01).all(), counts
    assert 0.3 < np.median(seen) < 0.7  # most of them about as large as they were


def test_windows_on_the_background_cut_no_face():
    _, mask = drawing()
    windows = [module.background_window(mask, np.random.default_rng(seed)) for seed in range(100)]
    for x, y, side in windows:  # never None: there is room above
        assert x >= 0 and y >= 0 and x + side <= 90 and y + side <= 120
        assert not mask[y : y + side, x : x + side].any()
        assert 17 <= side <= 45
    assert len(set(windows)) > 90
    assert max(side for _, _, side in windows) > 25
    for no_room in (np.full((50, 50), 255, np.uint8), np.pad(np.full((46, 46), 255, np.uint8), 2)):
        assert module.background_window(no_room, np.random.default_rng(0)) is None


def test_one_example_in_ten_shows_no_face():
    image, mask = drawing()
    without = [not augment(image, mask, 64, np.random.default_rng(seed))[1].any() for seed in range(DRAWS)]
    assert 0.06 < np.mean(without) < 0.16


def test_a_picture_without_a_face_is_seen_whole_and_from_near():
    without = np.zeros((120, 90), np.uint8)
    matrices = [random_affine(without, 64, np.random.default_rng(seed)) for seed in range(DRAWS)]
    zoom = np.array([np.sqrt(abs(np.linalg.det(m[:, :2]))) for m in matrices]) / (64 / 120)
    assert 0.4 < (zoom > 1.65).mean() < 0.6  # the picture's own framing ends at 1.6
    assert zoom.min() > 0.7


def test_half_of_the_examples_are_mirrored_and_upright_ones_prevail():
    mask = drawing()[1]
    matrices = [random_affine(mask, 64, np.random.default_rng(seed)) for seed in range(DRAWS)]
    mirrored = np.array([np.linalg.det(matrix[:, :2]) < 0 for matrix in matrices])
    assert 0.4 < mirrored.mean() < 0.6
    upright = np.array(
        [matrix[1, 1] > np.hypot(*matrix[:, 1]) * 0.8 for matrix in matrices]
    )  # down stays down
    assert upright.mean() > 0.8
    stretches = [np.hypot(*m[:, 0]) / np.hypot(*m[:, 1]) for m in matrices]  # the aspect ratio changes
    assert np.std(stretches) > 0.05
    assert np.median(stretches) == pytest.approx(1, abs=0.05)


def test_gentle_examples_are_close_to_the_picture():
    image, mask = DemoFaces(1, 64)[0]
    found = {}
    for gentle in (False, True):
        draws = [augment(image, mask, 64, np.random.default_rng(seed), gentle) for seed in range(DRAWS)]
        overlap = [max(iou(mask == 255, m == 255) for m in (result, result[:, ::-1])) for _, result in draws]
        found[gentle] = np.array(overlap)
    assert np.median(found[True]) > 0.75 > np.median(found[False])
    assert (found[True] == 0).mean() > 0.02  # places without a face stay part of it
    assert (found[True] > 0.75).mean() > 3 * (found[False] > 0.75).mean()


def test_gentle_examples_keep_the_rare_ones():
    """What the last epochs do not show is forgotten: small faces, and turned ones."""
    mask = drawing()[1]
    share = {}
    for gentle in (False, True):
        linear = [
            random_affine(mask, 64, np.random.default_rng(seed), gentle)[:, :2] for seed in range(DRAWS)
        ]
        zooms = np.array([np.sqrt(abs(np.linalg.det(m))) * max(mask.shape) / 64 for m in linear])
        angles = np.array([np.degrees(np.arctan2(abs(m[0, 1]), m[1, 1])) for m in linear])
        share[gentle] = ((zooms < 0.6).mean(), (angles > 45).mean())
    assert share[True] == pytest.approx(share[False], abs=0.015)
    assert min(share[True]) > 0.02


def test_images_without_face_or_of_odd_shapes():
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (2, 300), (300, 2), (33, 33)):
        for label in (0, 128, 255):
            image, mask = np.zeros((*shape, 3), np.uint8), np.full(shape, label, np.uint8)
            result, result_mask = augment(image, mask, 32, rng)
            assert result.shape == (32, 32, 3)
            assert set(np.unique(result_mask)) <= {0, 128, 255}


def test_occlusion_covers_face_with_background_and_nothing_else_changes():
    image, mask = DemoFaces(1, 96)[0]
    covered = 0
    for seed in range(50):
        result, result_mask = occlude(image, mask, np.random.default_rng(seed))
        changed = result_mask != mask
        assert (result_mask[changed] == 0).all()
        untouched = (result == image).all(axis=2)
        assert (result_mask[untouched] == mask[untouched]).mean() > 0.99
        covered += changed.any()
    assert covered > 20


def test_occlusion_adds_no_face():
    """What is copied from elsewhere in the picture must not be face that the mask calls background."""
    mask = np.zeros((96, 96), np.uint8)
    mask[20:70, 20:70] = 255
    image = np.zeros((96, 96, 3), np.uint8)
    image[mask == 255] = (250, 1, 2)  # a colour that nothing else has
    for seed in range(50):
        result, result_mask = occlude(image, mask, np.random.default_rng(seed))
        assert (result_mask[(result == (250, 1, 2)).all(axis=2)] == 255).all()


def test_look_changes_colour_and_keeps_red_red():
    """Red stays the first channel through every change: hue moves little, and JPEG does not swap."""
    image = np.full((64, 64, 3), (180, 110, 60), np.uint8)
    image[:32] = (160, 120, 70)
    looks = np.array([change_look(image, np.random.default_rng(s)).mean(axis=(0, 1)) for s in range(DRAWS)])
    red, green, blue = looks.T
    assert ((red >= green - 8) & (green >= blue - 8)).mean() > 0.9
    assert (red > blue + 10).mean() > 0.75
    assert np.std(looks, axis=0).min() > 15  # light and colour do vary
    grey = (np.ptp(looks, axis=1) < 1).mean()
    assert 0.03 < grey < 0.2


def test_look_covers_dark_and_bright_sharp_and_blurred():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8), (0, 0), 1)
    results = [change_look(image, np.random.default_rng(seed)) for seed in range(DRAWS)]
    light = [result.mean() for result in results]
    assert min(light) < image.mean() - 40
    assert max(light) > image.mean() + 40
    detail = [cv2.Laplacian(result, cv2.CV_32F).std() for result in results]
    before = cv2.Laplacian(image, cv2.CV_32F).std()
    assert min(detail) < before / 3
    assert max(detail) > before * 1.2
    assert all(result.shape == image.shape and result.dtype == np.uint8 for result in results)
