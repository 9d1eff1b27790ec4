"""Faces over time: python -m pytest tests/faces/test_tracks.py"""

from __future__ import annotations

from faces.detector import Detection, iou
from faces.mask import Region
from faces.tracks import LIFE, Tracks


def box_at(x: float, y: float = 100, side: int = 40) -> Region:
    return Region(round(x), round(y), round(x) + side, round(y) + side)


def test_a_face_keeps_its_number_and_a_new_one_gets_the_next():
    tracks = Tracks()
    tracks.update([Detection(box_at(100), 0.9), Detection(box_at(300), 0.95)], 0.0)
    tracks.update(
        [Detection(box_at(310), 0.8), Detection(box_at(110), 0.99), Detection(box_at(500), 0.9)], 1.0
    )
    assert [(track.number, track.box.left, track.confidence) for track in tracks] == [
        (1, 110, 0.99),
        (2, 310, 0.8),
        (3, 500, 0.9),
    ]


def test_a_track_ends_half_a_second_after_the_last_sight_and_its_number_is_not_used_again():
    tracks = Tracks()
    tracks.update([Detection(box_at(100), 0.9), Detection(box_at(300), 0.9)], 0.0)
    for now in (0.2, 0.4, 0.6):
        tracks[0].follow(box_at(100), now)
        tracks.end_lost(now)
        assert tracks.all_seen == (now > LIFE)  # when the second one has ended
    assert [track.number for track in tracks] == [1]
    tracks.update([Detection(box_at(300), 0.9)], 0.7)
    assert [track.number for track in tracks] == [1, 3]
    tracks.end_lost(9.0)
    assert not tracks and not tracks.all_seen


def test_the_box_goes_with_the_mask_but_does_not_run_away():
    tracks = Tracks()
    tracks.update([Detection(box_at(100), 0.9)], 0.0)
    (track,) = tracks
    track.follow(box_at(108), 0.1)
    assert track.box == box_at(108)
    track.follow(Region(0, 0, 400, 400), 0.2)  # a mask that ran out of the face
    assert track.box.width == track.box.height == 46


def test_of_two_tracks_on_one_face_that_which_the_detector_saw_stays():
    tracks = Tracks()
    tracks.update([Detection(box_at(100), 0.9)], 0.0)
    tracks.update([Detection(box_at(150), 0.9)], 1.0)
    tracks[0].follow(box_at(149), 1.0)
    tracks.end_lost(1.0)
    assert [track.number for track in tracks] == [2]


def test_what_was_found_in_an_earlier_frame_has_moved_since():
    tracks = Tracks()
    tracks.update([Detection(box_at(100), 0.9)], 0.0)
    then = {1: tracks[0].box}
    for step in range(1, 11):
        tracks[0].follow(box_at(100 + 8 * step), step / 30)
    tracks.update([Detection(box_at(102), 0.95)], 0.4, then)
    assert [(track.number, track.box) for track in tracks] == [(1, box_at(182))]
    assert iou(box_at(182), box_at(180)) > 0.9


def test_a_crossing_keeps_both():
    tracks = Tracks()
    tracks.update([Detection(box_at(100), 0.9), Detection(box_at(200), 0.9)], 0.0)
    for step in range(1, 11):
        tracks.update(
            [Detection(box_at(100 + 10 * step, 100), 0.9), Detection(box_at(200 - 10 * step, 118), 0.9)],
            step / 10,
        )
        tracks.end_lost(step / 10)
    assert sorted(track.box.left for track in tracks) == [100, 200]
