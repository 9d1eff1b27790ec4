"""Faces over time: python -m pytest tests/faces/test_tracks.py"""

from __future__ import annotations

import numpy as np
import pytest
from scenes import Known, film

from faces.detector import Detection
from faces.mask import Region, iou
from faces.motion import small_grey
from faces.tracks import LIFE, MEMORY, Tracks

RATE = 25.0
FLAT = np.full((240, 320), 128, np.uint8)  # nothing in it can be followed


def box_at(x: float, y: float = 100, side: int = 40) -> Region:
    return Region(round(x), round(y), round(x) + side, round(y) + side)


def numbers(tracks: Tracks, at: float) -> dict[int, Region]:
    return {sighting.track: sighting.place.box for sighting in tracks.sightings(at)}


def run(images: list[np.ndarray], detector: Known, every: int) -> list[dict[int, Region]]:
    """What is sighted in each frame when the detector runs in every nth."""
    tracks, before, sighted = Tracks(), None, []
    for index, image in enumerate(images):
        grey, at = small_grey(image), index / RATE
        if before is not None:
            tracks.step(before, grey, image.shape, at)
        if index % every == 0:
            tracks.update(detector.detect(image), at)
        sighted.append(numbers(tracks, at))
        before = grey
    return sighted


def test_a_face_keeps_its_number_and_a_new_one_gets_the_next():
    tracks = Tracks()
    tracks.update([Detection(box_at(100), 0.9), Detection(box_at(300), 0.95)], 0.0)
    seen, new = tracks.update(
        [Detection(box_at(310), 0.8), Detection(box_at(110), 0.99, 40.0), Detection(box_at(500), 0.9)], 0.2
    )
    assert [track.number for track in seen] == [1, 2] and [track.number for track in new] == [3]
    first, second, third = tracks.sightings(0.2)
    assert (first.track, first.place.box, first.confidence, first.place.angle) == (1, box_at(110), 0.99, 40)
    assert (second.track, second.place.box, second.confidence) == (2, box_at(310), 0.8)
    assert (third.track, third.place.box) == (3, box_at(500))


@pytest.mark.parametrize("every", [1, 4, 12, 100])
def test_a_face_that_moves_keeps_its_number_and_its_place_is_exact(every):
    images, boxes = film([[(10 + 4 * step, 40 + round(10 * np.sin(step / 5)), 130)] for step in range(40)])
    for sighted, (box,) in zip(run(images, Known(boxes), every)[: round(LIFE * RATE)], boxes):
        assert list(sighted) == [1] and iou(sighted[1], box) > 0.85


@pytest.mark.parametrize("every", [1, 4, 8])
def test_two_faces_that_pass_each_other_keep_their_numbers(every):
    images, boxes = film([[(5 + 4 * step, 10, 110), (205 - 4 * step, 95, 130)] for step in range(51)])
    sighted = run(images, Known(boxes), every)
    assert all(list(each) == [1, 2] for each in sighted)
    for number, box in zip((1, 2), boxes[-1]):
        assert iou(sighted[-1][number], box) > 0.6


@pytest.mark.parametrize("every", [2, 4])
@pytest.mark.parametrize(("speed", "y", "side"), [(4, 50, 130), (5, 55, 120), (7, 62, 100), (10, 62, 100)])
def test_a_face_that_passes_behind_another_keeps_its_number(speed, y, side, every):
    scenes = [[(5 + speed * step, y, side), (95, 50, 130)] for step in range(200 // speed + 1)]
    images, boxes = film(scenes)
    seen = [iou(*pair) < 0.3 for pair in boxes]  # the second one stands before the first
    assert 3 < seen.count(False) < MEMORY * RATE / 2
    sighted = run(images, Known(boxes, lambda number, face: face == 1 or seen[number]), every)
    assert list(sighted[0]) == list(sighted[-1]) == [1, 2]
    for number, box in zip((1, 2), boxes[-1]):
        assert iou(sighted[-1][number], box) > 0.6
    assert all(iou(each[2], boxes[0][1]) > 0.7 for each in sighted)


def test_two_tracks_never_share_a_face():
    tracks = Tracks()
    tracks.update([Detection(box_at(100), 0.9), Detection(box_at(130), 0.9)], 0.0)
    seen, new = tracks.update([Detection(box_at(115), 0.9)], 0.1)
    assert len(seen) == 1 and new == []
    assert len(numbers(tracks, 0.1)) == 1  # the other one is behind it


def test_a_detection_is_rather_of_the_face_in_front_than_of_one_behind_it():
    tracks = Tracks()
    tracks.update([Detection(box_at(100), 0.9), Detection(box_at(112), 0.9)], 0.0)
    tracks.update([Detection(box_at(112), 0.9)], 0.1)
    tracks.update([Detection(box_at(101), 0.9)], 0.2)
    assert numbers(tracks, 0.2) == {2: box_at(101)}


def test_a_faint_detection_starts_no_track_but_keeps_one():
    tracks = Tracks()
    tracks.update([Detection(box_at(100), 0.45)], 0.0)
    assert tracks.active == [] and tracks.sightings(0.0) == []
    tracks.update([Detection(box_at(100), 0.9)], 0.1)
    for step in range(1, 11):
        tracks.step(FLAT, FLAT, (240, 320, 3), 0.1 + step / 5)
        tracks.update([Detection(box_at(100), 0.45)], 0.1 + step / 5)
    assert list(numbers(tracks, 2.1)) == [1]


def test_a_lost_face_is_shown_for_half_a_second_and_known_for_a_whole_one():
    tracks = Tracks()
    tracks.update([Detection(box_at(100), 0.9)], 0.0)
    for at in np.arange(0.1, MEMORY, 0.1):
        assert tracks.step(FLAT, FLAT, (240, 320, 3), at) == []
        assert list(numbers(tracks, at)) == ([1] if at <= LIFE else [])
    tracks.update([Detection(box_at(104), 0.9)], 0.95)
    assert list(numbers(tracks, 0.95)) == [1]
    at = 0.95 + MEMORY + 0.05
    assert tracks.step(FLAT, FLAT, (240, 320, 3), at) == []  # the detector may see it in this very frame
    assert numbers(tracks, at) == {}
    (ended,) = tracks.step(FLAT, FLAT, (240, 320, 3), at + 0.1)
    assert ended.number == 1 and tracks.active == []
    tracks.update([Detection(box_at(104), 0.9)], 3.0)
    assert list(numbers(tracks, 3.0)) == [2]  # a number is not used again


def test_a_face_that_leaves_the_frame_ends_at_once():
    images, boxes = film([[(190 + 8 * step, 60, 130)] for step in range(20)])
    sighted = run(images, Known(boxes, lambda number, face: boxes[number][face].width > 20), 2)
    inside = [box.width / boxes[0][0].width for (box,) in boxes]
    gone = next(index for index, share in enumerate(inside) if share < 0.1)
    assert 5 < gone < 15 and not any(sighted[gone + 1 :])
    assert all(list(each) == [1] for each, share in zip(sighted, inside) if share > 0.2)


def test_what_is_seen_nearby_and_of_another_size_is_another_face():
    tracks = Tracks()
    tracks.update([Detection(box_at(100, side=80), 0.9)], 0.0)
    tracks.update([Detection(box_at(140, side=20), 0.9)], 0.1)
    assert list(numbers(tracks, 0.1)) == [1, 2]
