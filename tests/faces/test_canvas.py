"""Which pixels are whose face: python -m pytest tests/faces/test_parts.py"""

from __future__ import annotations

import numpy as np
from faces.parts import Canvas, bounds, nearest, touching

from faces.crops import Crop
from faces.detector import Detection
from faces.mask import Region
from faces.tracks import Track


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


def test_a_canvas_holds_all_faces_and_where_they_overlap_the_surer_one():
    canvas = Canvas((100, 200, 3))
    assert canvas.mask().region == (0, 0, 0, 0) and canvas.mask().faces == ()
    for number, left, level in ((1, 10, 100), (2, 60, 200)):
        track = Track(number, Detection(Region(left + 20, 30, left + 70, 90), 0.9), 0.0, 0.0)
        track.crop = Crop(Region(left, 0, left + 96, 96), (96, 96))
        levels = np.zeros((96, 96), np.uint8)
        levels[30:80, 20:75] = level
        canvas.add(track, levels, np.where(np.arange(96) < 60, levels, 0).astype(np.uint8))
    mask = canvas.mask()
    assert mask.probability[50, 70] == 100 and mask.probability[50, 82] == 200  # both cover x of 80 to 84
    assert mask.region == (30, 30, 135, 80) and mask.share(0.5) == 50 * 55 / 20000
    first, second = mask.faces
    assert (first.track, first.box, first.region) == (1, (30, 30, 80, 90), (30, 30, 85, 80))
    assert first.mask.shape == (50, 55) and first.area(0.3) == 50 * 40 and first.area(0.5) == 0
    assert second.mask.max() == 200 and second.area(0.5) == 50 * 40


def test_a_face_that_reaches_beyond_the_frame_is_cut_off_there():
    canvas = Canvas((64, 64))
    track = Track(1, Detection(Region(-20, -20, 30, 30), 0.9), 0.0, 0.0)
    track.crop = Crop(Region(-48, -48, 48, 48), (96, 96))
    canvas.add(track, np.full((96, 96), 255, np.uint8), np.zeros((96, 96), np.uint8))
    (face,) = canvas.mask().faces
    assert face.box == (0, 0, 30, 30) and face.region == (0, 0, 48, 48) and face.area(0.5) == 0
    assert (canvas.mask().probability[:48, :48] == 255).all() and canvas.mask().share(0.5) == (48 / 64) ** 2
