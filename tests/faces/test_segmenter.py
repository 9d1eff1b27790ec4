"""From a frame to its mask: python -m pytest tests/faces/test_segmenter.py"""

from __future__ import annotations

import numpy as np
import pytest
from scenes import background, draw_face, iou, red_runtime

from faces.mask import Mask, Region
from faces.segmenter import Segmenter, segment_picture, to_mask
from faces.timing import Timing


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (720, 1280), (144, 176), (37, 91), (300, 1800)])
@pytest.mark.parametrize("follow", [True, False])
def test_the_mask_is_where_the_face_is(shape, follow):
    segmenter = Segmenter(red_runtime, follow=follow, smooth=0.5)
    for step in range(4):
        frame = background(*shape)
        before = frame.copy()
        radius = min(shape) / 3
        truth = draw_face(frame, (shape[1] / 2 + step, shape[0] / 2), radius)
        mask = segmenter(frame)
        assert mask.probability.shape == shape and mask.probability.dtype == np.uint8
        assert iou(mask.probability > 127, truth) > 0.88
        left, top, right, bottom = mask.region
        outside = mask.probability.copy()
        outside[top:bottom, left:right] = 0
        assert outside.max() <= 12
    assert mask.share(0.5) == pytest.approx(truth.mean(), rel=0.1)
    assert (frame[~truth] == before[~truth]).all()


def test_the_runtime_gets_normalised_rgb_in_the_right_layout():
    seen = []

    def runtime(batch):
        seen.append(batch)
        return np.full((1, 1, *batch.shape[2:]), -9, np.float32)

    frame = np.zeros((192, 256, 3), np.uint8)
    frame[...] = (10, 100, 200)  # BGR
    Segmenter(runtime)(frame)
    assert seen[0].shape == (1, 3, 192, 256) and seen[0].dtype == np.float32
    wanted = (np.array([200, 100, 10]) - [123.68, 116.779, 103.939]) / [58.393, 57.12, 57.375]
    np.testing.assert_allclose(seen[0][0, :, 5, 7], wanted, atol=1e-5)


def test_probabilities_are_resized_before_anything_is_cut_off():
    logits = np.full((1, 1, 32, 32), -9, np.float32)
    logits[..., 16:] = 9
    probability = segment_picture(lambda batch: logits, np.zeros((320, 320, 3), np.uint8), size=32)
    assert probability.shape == (320, 320) and probability.dtype == np.float32
    ramp = probability[100, 154:167]
    assert 0.2 < ramp[6] < 0.8 and (np.diff(ramp) >= 0).all() and len(np.unique(ramp)) > 5


def test_all_faces_of_a_picture_are_found():
    frame = background(720, 1280)
    truth = (
        draw_face(frame, (200, 200), 40)
        | draw_face(frame, (1000, 500), 120)
        | draw_face(frame, (640, 300), 30)
    )
    assert iou(segment_picture(red_runtime, frame) > 0.5, truth) > 0.93


def test_to_mask_of_nothing_and_of_a_region_partly_outside():
    empty = to_mask(np.zeros((32, 32), np.float32), Region(0, 0, 64, 64), (64, 64, 3))
    assert empty.region == (0, 0, 0, 0) and empty.share(0.5) == 0
    full = to_mask(np.ones((32, 32), np.float32), Region(-32, -32, 32, 32), (64, 64, 3))
    assert full.region == (0, 0, 32, 32) and (full.probability[:32, :32] == 255).all()
    assert full.share(0.5) == 0.25 and Mask(full.probability, full.region).probability[32:].max() == 0


def test_what_lies_in_the_bars_beside_the_frame_is_nothing():
    probability = np.zeros((32, 32), np.float32)
    probability[:7] = 1.0  # above the frame
    mask = to_mask(probability, Region(0, -16, 64, 48), (32, 64, 3))
    assert mask.probability.max() == 0 and mask.region == (0, 0, 0, 0)


def test_a_stream_may_change_its_frame_size():
    segmenter = Segmenter(red_runtime, smooth=0.5)
    for height, width in ((1080, 1920), (1080, 1920), (360, 640)):
        frame = background(height, width)
        truth = draw_face(frame, (width * 0.86, height / 2), height / 8)
        mask = segmenter(frame)
        assert iou(mask.probability > 127, truth) > 0.85


@pytest.mark.parametrize("number", [3, 8])
def test_many_small_faces_are_all_there_from_the_first_frame(number):
    frame, truth = background(720, 1280), np.zeros((720, 1280), bool)
    for index in range(number):
        truth |= draw_face(frame, (90 + 155 * index, 200 + 40 * (index % 3)), 40)
    segmenter = Segmenter(red_runtime)
    segmenter.check_whole_frame(every=1)
    for _ in range(5):
        assert iou(segmenter(frame).probability > 127, truth) > 0.8


@pytest.mark.parametrize("follow", [True, False])
def test_a_lower_level_finds_fainter_faces(follow):
    def unsure(batch):  # 0.4 where there is a face
        return np.minimum(red_runtime(batch), np.float32(np.log(0.4 / 0.6)))

    frame = background(480, 640)
    truth = draw_face(frame, (320, 240), 100)
    for level, wanted in ((0.5, not follow), (0.3, True)):
        mask = Segmenter(unsure, follow=follow, level=level)(frame)
        assert (iou(mask.probability > 0.35 * 255, truth) > 0.88) is wanted
        probability = segment_picture(unsure, frame, closer=follow, level=level)
        assert (iou(probability > 0.35, truth) > 0.88) is wanted


@pytest.mark.parametrize(("check_every", "late"), [(1, 1), (15, 15)])
def test_a_face_that_comes_in_is_found_at_the_next_look_at_the_whole_frame(check_every, late):
    segmenter = Segmenter(red_runtime)
    segmenter.check_whole_frame(check_every)
    for step in range(20):
        frame = background(720, 1280)
        draw_face(frame, (300, 360), 60)
        if step >= 3:
            truth = draw_face(frame, (1100, 360), 60)
        mask = segmenter(frame)
        if step >= 3 and iou(mask.probability * truth > 127, truth) > 0.8:
            break
    assert step <= 3 + late


def test_without_following_every_frame_is_whole():
    segmenter = Segmenter(red_runtime, follow=False)
    segmenter.check_whole_frame(every=1)  # nothing to change
    frame = background(120, 160)
    truth = draw_face(frame, (80, 60), 30)
    assert iou(segmenter(frame).probability > 127, truth) > 0.9


def test_every_stage_is_timed():
    timing = Timing()
    segmenter = Segmenter(red_runtime, timing=timing)
    for _ in range(3):
        segmenter(background(48, 64))
    assert {name: len(seconds) for name, seconds in timing.seconds.items()} == {
        "prepare": 3,
        "network": 3,
        "smooth": 3,
        "mask": 3,
    }
    lines = timing.table().splitlines()
    assert len(lines) == 5 and lines[1].split()[:2] == ["prepare", "3"]


def far_runtime(looks: list):
    """Sees no face of fewer than 30 pixels; notes the sizes that it is given."""

    def runtime(batch):
        looks.append(batch.shape[2:])
        logits = red_runtime(batch)
        return logits if np.count_nonzero(logits > 0) > 30 else np.full_like(logits, -9)

    return runtime


def test_a_face_too_small_for_one_look_is_seen_in_a_finer_one():
    frame = background(640, 1280)
    truth = draw_face(frame, (900, 300), 40)  # at 64 pixels 9, at 128 pixels 38
    looks = []
    for _ in range(2):
        assert iou(segment_picture(far_runtime(looks), frame, size=64) > 0.5, truth) > 0.85
    assert looks[:2] == [(32, 64), (64, 128)]
    assert segment_picture(far_runtime([]), frame, size=64, closer=False).max() < 0.01
    segmenter = Segmenter(far_runtime([]), size=64)
    for _ in range(3):
        mask = segmenter(frame).probability
    assert iou(mask > 127, truth) > 0.85


def test_the_finer_look_is_taken_now_and_then_and_only_where_it_shows_more():
    looks = []
    segmenter = Segmenter(far_runtime(looks), size=64)
    for _ in range(31):
        segmenter(background(640, 1280))
    assert [index for index, size in enumerate(looks) if size == (64, 128)] == [1, 17, 33]  # each 15 frames
    looks.clear()
    segmenter.check_whole_frame(1)
    for _ in range(3):
        segmenter(background(640, 1280))
    assert looks == [(32, 64), (64, 128)] * 3
    looks.clear()
    segmenter(background(32, 64))
    segment_picture(far_runtime(looks), background(32, 64), size=64)
    assert looks == [(32, 64)] * 2


def test_what_was_seen_to_be_no_face_is_not_looked_at_again_at_once():
    looks = []

    def spot_from_afar(batch):
        """A spot of 8x8 in the whole frame; nothing in a crop or in a finer look."""
        looks.append(batch.shape[2:])
        logits = np.full((1, 1, *batch.shape[2:]), -9, np.float32)
        if batch.shape[2:] == (128, 256):
            logits[..., 40:48, 80:88] = 9
        return logits

    segmenter = Segmenter(spot_from_afar)
    segmenter.check_whole_frame(1)  # so that a finer look follows in each frame
    for _ in range(5):
        assert segmenter(background(640, 1280)).probability.max() == 0
    whole, crop, finer = (128, 256), (256, 192), (256, 512)
    assert looks == [whole, crop, finer, *[whole, finer] * 4]
