"""The metrics against their definitions, pixel by pixel in loops, and in cases worked out by hand."""

import math

import numpy as np
import pytest

from faces.metrics import boundary_iou, score_mask, summarise

KEYS = ["images", "iou_mean", "iou_p10", "iou_all", "dice", "precision", "recall", "boundary_iou"]


def blob_case(seed, height=37, width=29):
    """A face of two rectangles, a found mask like it, and 40 pixels of 128, of which some are found."""
    rng = np.random.default_rng(seed)
    mask, found = np.zeros((height, width), np.uint8), np.zeros((height, width), bool)
    for _ in range(2):
        y, x = rng.integers(3, height - 12), rng.integers(3, width - 12)
        h, w = rng.integers(8, 20, 2)
        mask[y : y + h, x : x + w] = 255
        down, right = rng.integers(-3, 4, 2)
        found[y + down : y + h + down, x + right : x + w + right] = True
    y, x = min(y + h - 4, height - 8), min(x + w - 3, width - 5)  # about a corner of the face
    mask[y : y + 8, x : x + 5] = 128
    found[mask == 128] = rng.random(40) < 0.5
    return found, mask


def by_definition(found, mask):
    """IoU, Dice, precision and recall, counting judged pixels one by one."""
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for is_found, value in zip(found.ravel().tolist(), mask.ravel().tolist()):
        if value != 128:
            counts[is_found, value == 255] += 1
    right, false, missed = counts[True, True], counts[True, False], counts[False, True]
    return (
        right / (right + false + missed),
        2 * right / (2 * right + false + missed),
        right / (right + false),
        right / (right + missed),
    )


def boundary_by_definition(found, mask):
    """Boundary IoU with the documented rule for pixels of 128, by looking at every pixel's neighbourhood."""
    height, width = mask.shape
    reach = max(round(0.02 * math.sqrt(height**2 + width**2)), 1)

    def around(y, x):
        """What is near a pixel: (found, mask) values, (False, 0) outside the image."""
        for v in range(y - reach, y + reach + 1):
            for u in range(x - reach, x + reach + 1):
                inside = 0 <= v < height and 0 <= u < width
                yield (bool(found[v, u]), int(mask[v, u])) if inside else (False, 0)

    both = either = 0
    for y in range(height):
        for x in range(width):
            neighbours = list(around(y, x))
            in_true = mask[y, x] == 255 and any(value == 0 for _, value in neighbours)
            in_found = found[y, x] and any(not f and value != 128 for f, value in neighbours)
            unclear = mask[y, x] == 255 and not in_true and any(value == 128 for _, value in neighbours)
            if mask[y, x] != 128 and not unclear:
                both += in_true and in_found
                either += in_true or in_found
    return both / either if either else 1.0


@pytest.mark.parametrize("seed", range(8))
def test_scores_equal_their_definition(seed):
    found, mask = blob_case(seed)
    score = score_mask(found, mask)
    assert (score.iou, score.dice, score.precision, score.recall) == pytest.approx(by_definition(found, mask))
    assert score.intersection / score.union == score.iou
    assert score.boundary_iou == pytest.approx(boundary_by_definition(found, mask))


@pytest.mark.parametrize("seed", range(5))
def test_boundary_iou_equals_its_definition_where_the_band_is_wider(seed):
    found, mask = blob_case(seed, 100, 120)
    assert boundary_iou(found, mask) == pytest.approx(boundary_by_definition(found, mask))


def test_boundary_iou_by_hand():
    # 100x100: the band is 3 pixels wide. Two 20x20 squares, one pixel beside each other.
    mask, found = np.zeros((100, 100), np.uint8), np.zeros((100, 100), bool)
    mask[40:60, 40:60] = 255
    found[40:60, 41:61] = True
    ring = 20 * 20 - 14 * 14
    # The overlap of the squares is 20x19; of it, what is in both rings lies outside both inner 14x14 squares,
    # which together are 14x15.
    both = 20 * 19 - 14 * 15
    assert boundary_iou(found, mask) == pytest.approx(both / (2 * ring - both))


def test_boundary_at_the_edge_of_the_image_counts_as_one():
    mask = np.full((50, 50), 255, np.uint8)
    found = np.zeros((50, 50), bool)
    found[5:-5, 5:-5] = True
    assert boundary_iou(mask == 255, mask) == 1
    assert boundary_iou(found, mask) == 0  # bands of 1 pixel, at the border and 5 pixels away from it


@pytest.mark.parametrize("seed", range(8))
def test_what_is_found_in_unjudged_pixels_changes_nothing(seed):
    found, mask = blob_case(seed, 100, 120)
    assert (mask == 128).sum() == 40
    other = found.copy()
    other[mask == 128] ^= True
    random = np.where(mask == 128, np.random.default_rng(0).random(mask.shape) < 0.5, found)
    assert score_mask(other, mask) == score_mask(found, mask) == score_mask(random, mask)
    judged = score_mask(found & (mask != 128), np.where(mask == 128, 0, mask).astype(np.uint8))
    assert judged[:4] == score_mask(found, mask)[:4]


def test_edge_towards_unjudged_pixels_is_not_judged():
    """A jaw whose edge is somewhere in a strip of 128: wherever in it the found face ends is right."""
    mask = np.zeros((100, 100), np.uint8)
    mask[20:60, 30:70] = 255
    mask[60:66, 30:70] = 128
    for end in (60, 63, 66):
        found = np.zeros((100, 100), bool)
        found[20:end, 30:70] = True
        assert score_mask(found, mask)[:5] == (1, 1, 1, 1, 1)
    found[66:70, 30:70] = True  # and beyond the strip it is not
    assert score_mask(found, mask).boundary_iou < 1


def test_nothing_there_and_nothing_found_is_right():
    nothing = np.zeros((10, 10), bool)
    for mask in (np.zeros((10, 10), np.uint8), np.full((10, 10), 128, np.uint8)):
        assert score_mask(nothing, mask) == (1, 1, 1, 1, 1, 0, 0)
    all_found = np.ones((10, 10), bool)
    assert score_mask(all_found, np.full((10, 10), 128, np.uint8)) == (1, 1, 1, 1, 1, 0, 0)


def test_one_of_both_empty_is_wrong():
    nothing, some = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    some[2:5, 2:5] = True
    face = np.where(some, 255, 0).astype(np.uint8)
    assert score_mask(nothing, face) == (0, 0, 0, 0, 0, 0, 9)
    assert score_mask(some, np.zeros_like(face)) == (0, 0, 0, 0, 0, 0, 9)
    assert score_mask(nothing, np.where(some, 255, 128).astype(np.uint8)).boundary_iou == 0  # no judged edge


@pytest.mark.parametrize(
    "found, mask",
    [
        (np.zeros((4, 5), bool), np.zeros((5, 4), np.uint8)),
        (np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8)),
        (np.zeros((4, 5), bool), np.zeros((4, 5), np.float32)),
        (np.zeros((1, 4, 5), bool), np.zeros((1, 4, 5), np.uint8)),
    ],
)
def test_other_arrays_are_refused(found, mask):
    with pytest.raises(ValueError, match="HxW"):
        score_mask(found, mask)


def test_summary_by_hand():
    small, large = np.zeros((10, 10), np.uint8), np.zeros((100, 100), np.uint8)
    small[:2, :2], large[:50, :50] = 255, 255
    scores = [
        score_mask(np.zeros((10, 10), bool), small),  # 0 of 4 pixels
        score_mask(large == 255, large),  # 2500 of 2500
        score_mask(np.arange(100)[:, None] * np.ones((1, 100), int) < 100, large),  # 2500 of 10,000 found
    ]
    summary = summarise(scores)
    assert list(summary) == KEYS
    assert summary["images"] == 3
    assert summary["iou_mean"] == pytest.approx((0 + 1 + 0.25) / 3)
    assert summary["iou_p10"] == pytest.approx(0.2 * 0.25)  # a fifth of the way from 0 to 0.25
    assert summary["iou_all"] == pytest.approx(5000 / (4 + 2500 + 10000))
    assert summary["precision"] == pytest.approx((0 + 1 + 0.25) / 3)
    assert summary["recall"] == pytest.approx(2 / 3)
    assert summary["dice"] == pytest.approx((0 + 1 + 0.4) / 3)
