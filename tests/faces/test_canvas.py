"""Which pixels are whose face: python -m pytest tests/faces/test_canvas.py"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from faces.canvas import Part, bounds, compose, nearest, touching
from faces.crops import Crop
from faces.mask import Region
from faces.motion import Place
from faces.tracks import Sighting


def test_only_what_touches_the_box_counts_with_its_soft_edge():
    probability = np.full((96, 96), 0.05, np.float32)
    probability[30:60, 30:60] = 0.9
    probability[28:30, 30:60] = 0.3  # the soft edge
    probability[70:90, 70:90] = 0.9  # a hand
    kept = touching(probability, Region(40, 40, 50, 200))
    assert (kept[28:60, 30:60] == probability[28:60, 30:60]).all() and kept[66:].max() == 0
    assert touching(probability, Region(-50, 0, -10, 96)).max() == 0
    both = touching(probability, Region(50, 50, 75, 75))
    assert (both[70:90, 70:90] == probability[70:90, 70:90]).all() and both[40, 40] > 0


def test_cheek_to_cheek_each_pixel_is_the_nearer_faces():
    levels = np.full((96, 96), 200, np.uint8)
    left, right, far = Region(10, 30, 46, 70), Region(50, 30, 86, 70), Region(200, 30, 240, 70)
    own = [nearest(levels, box, [left, right, far]) for box in (left, right)]
    assert bounds(own[0], 0) == (0, 0, 48, 96) and bounds(own[1], 0) == (48, 0, 96, 96)
    assert nearest(levels, left, [left, far]) is levels
    assert bounds(np.zeros((5, 5), np.uint8), 0) == (0, 0, 0, 0)


def test_nearness_is_in_the_width_and_the_height_of_each_box():
    levels = np.full((96, 96), 200, np.uint8)
    narrow, wide = Region(10, 30, 30, 70), Region(30, 40, 70, 60)
    assert bounds(nearest(levels, narrow, [narrow, wide])[50:51], 0) == (0, 0, 30, 1)


def part(number: int, box: Region, crop: Crop, levels: np.ndarray, own: np.ndarray) -> Part:
    """What is marked of a face that is in a box of the frame."""
    sighting = Sighting(number, Place.of(box, crop.angle), 0.9)
    return Part(sighting, crop, crop.to_image(box), levels, own)


def test_a_mask_holds_all_faces_and_where_they_overlap_the_surer_one():
    assert compose((100, 200, 3), []).region == (0, 0, 0, 0) and compose((9, 9), []).faces == ()
    parts = []
    for number, left, level in ((1, 10, 100), (2, 60, 200)):
        crop = Crop(Region(left, 0, left + 96, 96), (96, 96))
        levels = np.zeros((96, 96), np.uint8)
        levels[30:80, 20:75] = level
        own = np.where(np.arange(96) < 60, levels, 0).astype(np.uint8)
        parts.append(part(number, Region(left + 20, 30, left + 70, 90), crop, levels, own))
    mask = compose((100, 200, 3), parts)
    assert mask.probability[50, 70] == 100 and mask.probability[50, 82] == 200  # both cover x of 80 to 84
    assert mask.region == (30, 30, 135, 80) and mask.share(0.5) == 50 * 55 / 20000
    first, second = mask.faces
    assert (first.track, first.box, first.region) == (1, (30, 30, 80, 90), (30, 30, 85, 80))
    assert first.mask.shape == (50, 55) and first.area(0.3) == 50 * 40 and first.area(0.5) == 0
    assert second.mask.max() == 200 and second.area(0.5) == 50 * 40


def test_a_face_that_reaches_beyond_the_frame_is_cut_off_there():
    crop, levels = Crop(Region(-48, -48, 48, 48), (96, 96)), np.full((96, 96), 255, np.uint8)
    mask = compose((64, 64), [part(1, Region(-20, -20, 30, 30), crop, levels, np.zeros_like(levels))])
    (face,) = mask.faces
    assert face.box == (0, 0, 30, 30) and face.region == (0, 0, 48, 48) and face.area(0.5) == 0
    assert (mask.probability[:48, :48] == 255).all() and mask.share(0.5) == (48 / 64) ** 2


def ellipse(crop: Crop, box: Region) -> np.ndarray:
    """The levels of a face that fills a box of the frame, upright or turned as the crop is."""
    inner, levels = crop.to_image(box), np.zeros(crop.size, np.uint8)
    centre = tuple(round(value * 16) for value in (inner.centre[0] - 0.5, inner.centre[1] - 0.5))
    axes = (round(inner.width * 8), round(inner.height * 8))
    return cv2.ellipse(levels, centre, axes, 0, 0, 360, 255, -1, shift=4)


@pytest.mark.parametrize("angle", [0.0, 140.0])
def test_a_mask_is_carried_along_as_its_face_moves_and_grows(angle):
    boxes = Region(100, 100, 160, 180), Region(180, 90, 252, 186)
    crops = (
        Crop(Region(50, 60, 210, 220), (160, 160), angle),
        Crop(Region(120, 40, 312, 232), (192, 192), angle),
    )
    old, new = (
        part(1, box, crop, levels, levels)
        for box, crop, levels in zip(
            boxes, crops, (ellipse(crops[0], boxes[0]), np.zeros((192, 192), np.uint8))
        )
    )
    assert old.is_seen and not new.is_seen
    carried, wanted = new.carried_from(old), ellipse(crops[1], boxes[1])
    assert carried.sighting == new.sighting and carried.crop == new.crop and carried.is_seen
    both = np.count_nonzero((carried.own > 127) & (wanted > 127))
    assert both > 0.96 * np.count_nonzero((carried.own > 127) | (wanted > 127))


def test_what_the_network_still_marks_stays_beside_what_is_carried_along():
    crop, box = Crop(Region(0, 0, 96, 96), (96, 96)), Region(30, 30, 60, 70)
    old = part(1, box, crop, *[ellipse(crop, box)] * 2)
    faint = np.zeros((96, 96), np.uint8)
    faint[80:84, 80:84] = 200
    carried = old._replace(levels=faint, own=faint).carried_from(old)
    assert (carried.levels == np.maximum(faint, carried.own)).all() and carried.own[50, 45] == 255
