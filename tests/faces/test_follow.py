"""Where to look next: python -m pytest tests/faces/test_follow.py"""

from __future__ import annotations

import numpy as np
import pytest
from scenes import background, draw_face, iou, red_runtime

from faces.follow import Follow, crop_about, is_closer
from faces.mask import Region
from faces.parts import find_faces
from faces.regions import take, whole_frame
from faces.segmenter import Segmenter, segment_picture

SHAPE = (720, 1280, 3)


def faces_of(boxes: list, region: Region, size: tuple) -> list:
    """What a perfect network finds of faces that fill these boxes."""
    frame = np.zeros(SHAPE[:2], np.float32)
    for left, top, right, bottom in boxes:
        frame[top:bottom, left:right] = 1
    return find_faces(take(frame, region, size), region, SHAPE)


def test_at_first_and_when_lost_it_looks_at_the_whole_frame():
    follow = Follow(256)
    whole = whole_frame(720, 1280, 256)
    assert follow.next_region(SHAPE) == whole
    follow.update(faces_of([(600, 300, 680, 400)], *whole), whole[0], SHAPE)
    region, _ = follow.next_region(SHAPE)
    assert region.width < 300 and region.inside(720, 1280) == region
    assert region.left < 600 and region.right > 680 and region.top < 300 and region.bottom > 400
    follow.update([], region, SHAPE)
    assert follow.next_region(SHAPE) == whole


def test_two_faces_are_both_in_the_crop_or_the_whole_frame_is_taken():
    whole = whole_frame(720, 1280, 256)
    near, far = [(600, 300, 660, 380), (700, 310, 750, 380)], [(50, 300, 130, 400), (1100, 310, 1180, 410)]
    follow = Follow(256)
    follow.update(faces_of(near, *whole), whole[0], SHAPE)
    region, _ = follow.next_region(SHAPE)
    assert region.left < 600 and region.right > 750 and region.width < 600
    follow.update(faces_of(far, *whole), whole[0], SHAPE)
    assert follow.next_region(SHAPE) == whole


def test_a_large_face_needs_no_crop():
    whole = whole_frame(720, 1280, 256)
    follow = Follow(256)
    follow.update(faces_of([(400, 50, 900, 700)], *whole), whole[0], SHAPE)
    assert follow.next_region(SHAPE) == whole


def test_the_crop_stands_still_while_the_face_hardly_moves():
    whole = whole_frame(720, 1280, 256)
    follow = Follow(256)
    follow.update(faces_of([(600, 300, 700, 420)], *whole), whole[0], SHAPE)
    first, size = follow.next_region(SHAPE)
    follow.update(faces_of([(604, 303, 704, 423)], first, size), first, SHAPE)
    assert follow.next_region(SHAPE)[0] == first
    follow.update(faces_of([(650, 330, 750, 450)], first, size), first, SHAPE)
    assert follow.next_region(SHAPE)[0] != first


def test_a_check_of_the_whole_frame_is_due_now_and_then_and_adds_what_came_in():
    whole = whole_frame(720, 1280, 256)
    follow = Follow(256)
    follow.check_every = 3
    follow.update(faces_of([(600, 300, 700, 420)], *whole), whole[0], SHAPE)
    due = []
    for _ in range(3):
        region, size = follow.next_region(SHAPE)
        follow.update(faces_of([(600, 300, 700, 420)], region, size), region, SHAPE)
        due.append(follow.is_due())
    assert due == [False, False, True]
    follow.check(faces_of([(600, 300, 700, 420), (900, 300, 1000, 420)], *whole))
    region, _ = follow.next_region(SHAPE)
    assert region.left < 600 and region.right > 1000 and not follow.is_due()


@pytest.mark.parametrize(
    "box", [(0, 0, 30, 40), (1270, 700, 1280, 720), (600, 300, 800, 320), (5, 200, 6, 201)]
)
def test_a_crop_holds_its_box_at_the_networks_aspect_ratio(box):
    region, size = crop_about(Region(*box), SHAPE, 256)
    assert (
        region.left <= box[0] and region.right >= box[2] and region.top <= box[1] and region.bottom >= box[3]
    )
    assert size in ((192, 256), (256, 192))
    if region.width > 50:
        assert region.width / region.height == pytest.approx(size[1] / size[0], rel=0.05)
    assert is_closer((region, size), whole_frame(720, 1280, 256))


def test_small_faces_come_out_far_better():
    frame = background(720, 1280)
    truth = draw_face(frame, (900, 500), 25)
    without = Segmenter(red_runtime, follow=False)(frame)
    following = Segmenter(red_runtime)
    following(frame)
    with_follow = following(frame)
    error = 1 - iou(without.probability > 127, truth)
    assert error > 0.05 and 1 - iou(with_follow.probability > 127, truth) < error / 2
    assert 1 - iou(segment_picture(red_runtime, frame) > 0.5, truth) < error / 2
    assert 1 - iou(segment_picture(red_runtime, frame, closer=False) > 0.5, truth) > error / 2


def test_a_face_that_leaves_the_crop_is_found_in_the_same_frame():
    segmenter = Segmenter(red_runtime)
    for centre in ((200, 200), (200, 200), (1000, 500)):
        frame = background(720, 1280)
        truth = draw_face(frame, centre, 60)
        mask = segmenter(frame)
    assert iou(mask.probability > 127, truth) > 0.9


def test_a_second_face_is_found_after_some_frames_and_the_first_is_kept():
    segmenter = Segmenter(red_runtime)
    for index in range(40):
        frame = background(720, 1280)
        truth = draw_face(frame, (300, 300), 50)
        if index > 5:
            truth |= draw_face(frame, (1000, 500), 60)
        mask = segmenter(frame)
    assert iou(mask.probability > 127, truth) > 0.9


def test_an_empty_frame_has_no_mask():
    segmenter = Segmenter(red_runtime)
    for _ in range(3):
        mask = segmenter(background(480, 640))
    assert not mask.probability.any() and mask.region.width == 0 and mask.share(0.5) == 0
