"""The faces of files, followed forward and back: python -m pytest tests/faces/test_follow_files.py"""

from __future__ import annotations

import numpy as np
import pytest
from scenes import Known, Shot, background, film, shots

from faces import follow as followers
from faces.follow import LookAhead
from faces.mask import Region, iou
from faces.tracks import LIFE

RATE = 25.0


def follow(
    images: list[np.ndarray], detector: Known, every: int, rate: float = RATE
) -> list[dict[int, Region]]:
    """The boxes of the faces in each frame, by their numbers, cut off at its edge."""
    frames = list(shots(images, rate))
    results = list(LookAhead(detector, every).follow(iter(frames)))
    assert [frame for frame, _ in results] == frames
    return [
        {each.track: each.place.box.inside(*image.shape[:2]) for each in sightings}
        for image, (_, sightings) in zip(images, results)
    ]


def check(
    sighted: list[dict], boxes: list[list[Region]], frames: range, number: int = 1, face: int = 0
) -> None:
    """In these frames a number is where the face is."""
    for index in frames:
        assert iou(sighted[index].get(number, Region(0, 0, 0, 0)), boxes[index][face]) > 0.6, index


def test_a_face_is_known_from_where_it_came_in():
    images, boxes = film([[(-130 + 6 * step, 60, 150)] for step in range(40)])
    detector = Known(boxes, lambda number, face: number >= 24)
    sighted = follow(images, detector, 12)
    assert min(detector.calls) == 0 and 24 in detector.calls
    width = max(box.width for (box,) in boxes)
    half = next(index for index, (box,) in enumerate(boxes) if box.width > width / 2)
    quarter = next(index for index, (box,) in enumerate(boxes) if box.width > width / 6)
    assert quarter < half < 14
    check(sighted, boxes, range(half, 40))
    assert not any(sighted[: quarter - 2]) and all(len(each) <= 1 for each in sighted)


@pytest.mark.parametrize("seconds", [0.5, 1.1, 3.0])
def test_a_face_keeps_its_number_where_frames_are_far_apart(seconds):
    images, boxes = film([[(100, 60, 150)]] * 8)
    sighted = follow(images, Known(boxes), 12, 1 / seconds)
    assert [list(each) for each in sighted] == [[1]] * 8


def test_after_a_long_pause_it_may_be_somebody_else():
    images, boxes = film([[(100, 60, 150)]] * 3)
    sighted = follow(images, Known(boxes), 12, 1 / 600)
    assert [list(each) for each in sighted] == [[1], [2], [3]]


def test_a_face_that_is_suddenly_there_is_not_followed_into_what_was_before():
    images, boxes = film([[(100, 60, 150)] if step >= 18 else [] for step in range(30)])
    sighted = follow(images, Known(boxes), 12)
    assert [index for index, each in enumerate(sighted) if each] == list(range(18, 30))


@pytest.mark.parametrize("every", [2, 4, 8])
def test_a_face_that_is_not_detected_for_a_moment_keeps_number_and_place(every):
    images, boxes = film([[(20 + 3 * step, 40 + round(12 * np.sin(step / 4)), 130)] for step in range(48)])
    sighted = follow(images, Known(boxes, lambda number, face: not 17 <= number < 27), every)
    assert all(list(each) == [1] for each in sighted)
    check(sighted, boxes, range(48))


@pytest.mark.parametrize(("every", "error"), [(4, 3), (12, 1.5)])
def test_where_the_points_lead_astray_the_next_detection_puts_it_right(every, error, monkeypatch):
    """Each step leads so many pixels too far to the right."""
    real = followers.move
    images, boxes = film([[(20 + 3 * step, 40, 130)] for step in range(37)])

    def astray(*how) -> list:
        return [place and place.shifted(error, 0) for place in real(*how)]

    monkeypatch.setattr("faces.tracks.move", astray)
    sighted = follow(images, Known(boxes), every)
    assert all(list(each) == [1] for each in sighted)
    for each, (box,) in zip(sighted, boxes):
        assert each[1].centre[0] == pytest.approx(box.centre[0], abs=3)


@pytest.mark.parametrize("stays", [True, False])
def test_a_face_that_ends_inside_the_frame_is_kept_for_half_a_second(stays):
    """With `stays` only the detector does not see it any more."""
    images, boxes = film([[(100, 60, 150)] if stays or step <= 20 else [] for step in range(50)])
    sighted = follow(images, Known(boxes, lambda number, face: number <= 20), 4)
    last = 20 + round(LIFE * RATE)
    assert [index for index, each in enumerate(sighted) if each] == list(range(last + 1))
    for index in range(last + 1):
        assert iou(sighted[index][1], boxes[0][0]) > 0.7


@pytest.mark.parametrize("speed", [8, 25])
def test_a_face_that_leaves_by_the_edge_is_gone_at_once(speed):
    images, boxes = film([[(170 + speed * max(step - 3, 0), 60, 150)] for step in range(30)])
    whole = boxes[0][0].width
    sighted = follow(images, Known(boxes, lambda number, face: boxes[number][0].width > whole / 2), 4)
    gone = next(index for index, (box,) in enumerate(boxes) if box.width < whole / 10)
    half = next(index for index, (box,) in enumerate(boxes) if box.width < whole / 2)
    check(sighted, boxes, range(half))
    assert not any(sighted[gone + 1 :]) and gone < 28


@pytest.mark.parametrize(("speed", "every"), [(4, 4), (4, 8), (5, 4), (5, 8)])
def test_faces_that_pass_each_other_keep_their_numbers_and_both_have_their_places(speed, every):
    images, boxes = film([[(5 + speed * step, 55, 120), (95, 50, 130)] for step in range(41)])
    seen = [iou(*pair) < 0.3 for pair in boxes]
    sighted = follow(images, Known(boxes, lambda number, face: face == 1 or seen[number]), every)
    assert 3 < seen.count(False) < 12
    check(sighted, boxes, range(41), 2, 1)
    for each, (box, _) in zip(sighted, boxes):
        assert set(each) == {1, 2}
        assert each[1].centre[0] == pytest.approx(box.centre[0], abs=0.2 * box.width)


@pytest.mark.parametrize("first", [0, 10])
def test_nothing_is_followed_across_a_cut(first):
    """first: the frame from which the detector sees the face."""
    images, boxes = film([[(100, 60, 150)]] * 20)
    after = [255 - background(240, 320, 3) for _ in range(10)]  # another scene, a face in the same place
    for index, image in enumerate(after, 10):
        box = boxes[index][0]
        image[box.rows, box.columns] = images[index][box.rows, box.columns]
        image[0, 0] = index
        images[index] = image
    detector = Known(boxes, lambda number, face: number >= first)
    sighted = follow(images, detector, 100)
    before, after = ([1], [2]) if first == 0 else ([], [1])
    assert [list(each) for each in sighted] == [before] * 10 + [after] * 10
    assert {0, 9, 10, 19} <= set(detector.calls)


def test_who_came_in_just_before_a_cut_is_seen():
    images, boxes = film([[(60, 60, 150)] if 6 <= step < 10 else [] for step in range(10)])
    images += [255 - image for image in film([[]] * 6)[0]]
    for index, image in enumerate(images):
        image[0, 0] = index
    sighted = follow(images, Known([*boxes, *[[]] * 6]), 12)
    assert [index for index, each in enumerate(sighted) if each] == [6, 7, 8, 9]


def test_each_run_gives_the_same():
    images, boxes = film([[(-60 + 5 * step, 30, 110), (200 - 4 * step, 100, 120)] for step in range(40)])
    first, second = (follow(images, Known(boxes, lambda number, face: number % 3 > 0), 4) for _ in range(2))
    assert first == second and all(first[8:])


@pytest.mark.parametrize("seconds", [0.7, 2.0])
def test_in_a_slow_series_each_picture_is_looked_at(seconds):
    images, boxes = film([[(20 + 10 * step, 60, 150)] for step in range(8)])
    detector = Known(boxes)
    sighted = follow(images, detector, 100, rate=1 / seconds)
    assert detector.calls == list(range(8))
    for each, (box,) in zip(sighted, boxes):
        assert list(each.values()) == [box]


def test_half_a_second_is_half_a_second_whatever_the_rate():
    for rate in (12.5, 50.0):
        images, boxes = film([[(100, 60, 150)]] * 60)
        sighted = follow(images, Known(boxes, lambda number, face: number == 0), 4, rate)
        assert [bool(each) for each in sighted] == [index <= LIFE * rate for index in range(60)]


def lag(count: int, rate: float, size: tuple = (48, 64)) -> int:
    """How many frames the follower holds at most."""
    taken, most, given = [], 0, 0

    def frames():
        for index in range(count):
            taken.append(index)
            yield Shot(background(*size, seed=1), index / rate)

    follower = LookAhead(Known([[]] * 256), 4)
    for given, _ in enumerate(follower.follow(frames()), 1):
        most = max(most, len(taken) - given + 1)
    assert given == count
    return most


def test_no_more_is_held_than_a_second():
    assert 20 < lag(100, 25) <= 28
    assert lag(20, 1) <= 3 and lag(20, 0.1) <= 3


def test_no_more_is_held_than_fits_into_memory(monkeypatch):
    monkeypatch.setattr(followers, "MOST_BYTES", 5 * 48 * 64 * 3)
    assert 4 <= lag(60, 25) <= 7


def test_no_frames_and_one():
    assert follow([], Known([]), 4) == []
    images, boxes = film([[(100, 60, 150)]])
    assert follow(images, Known(boxes), 4) == [{1: boxes[0][0]}]


def test_to_hide_faces_the_detector_runs_more_often():
    images, boxes = film([[(100, 60, 150)]] * 24)
    counts = []
    for hiding in (False, True):
        detector = Known(boxes)
        follower = LookAhead(detector, 12)
        follower.hiding = hiding
        list(follower.follow(shots(images)))
        counts.append(len(detector.calls))
    assert counts[0] <= 4 and counts[1] >= 6


@pytest.mark.parametrize("hiding", [False, True])
def test_to_hide_faces_heads_that_lie_are_looked_for_beside_known_ones(hiding):
    class Noting(Known):
        def detect(self, frame: np.ndarray, turned: bool = False) -> list:
            looked.append(turned)
            return super().detect(frame, turned)

    looked = []
    images, boxes = film([[(100, 60, 150)]] * 24)
    follower = LookAhead(Noting(boxes), 4)
    follower.hiding = hiding
    list(follower.follow(shots(images)))
    assert looked[0] and any(looked[1:]) == hiding


def test_what_goes_wrong_in_the_detector_is_raised():
    class Broken(Known):
        def detect(self, frame: np.ndarray, turned: bool = False) -> list:
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        follow(film([[]] * 3)[0], Broken([]), 4)
