"""From a frame to its mask, in a world of red faces: python -m pytest tests/faces/test_segmenter.py"""

from __future__ import annotations

import numpy as np
import pytest
from scenes import RedDetector, background, draw_face, iou, left_quarter, red_runtime

from faces.detector import Detection
from faces.mask import Region
from faces.segmenter import Segmenter, Settings, segment_picture
from runtimes.timing import Timing


class NoDetector(RedDetector):
    """Sees no face at all."""

    def __call__(self, frame: np.ndarray) -> list[Detection]:
        self.calls += 1
        return []


def sizes_of(batches: list):
    """Return a runtime that notes the shapes of what it is given."""

    def runtime(batch: np.ndarray) -> np.ndarray:
        batches.append((len(batch), *batch.shape[2:]))
        return red_runtime(batch)

    return runtime


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (720, 1280), (144, 176), (37, 91), (300, 1800)])
@pytest.mark.parametrize("detector", [RedDetector(), None])
def test_the_mask_is_where_the_face_is(shape, detector):
    segmenter = Segmenter(red_runtime, detector, smooth=0.5)
    for step in range(4):
        frame = background(*shape)
        before = frame.copy()
        truth = draw_face(frame, (shape[1] / 2 + step, shape[0] / 2), min(shape) / 3)
        mask = segmenter(frame)
        assert mask.probability.shape == shape and mask.probability.dtype == np.uint8
        assert iou(mask.probability > 127, truth) > 0.88
        outside = mask.probability.copy()
        outside[mask.region.rows, mask.region.columns] = 0
        assert outside.max() <= 12
        (face,) = mask.faces
        assert (face.mask == mask.probability[face.region.rows, face.region.columns]).all()
        assert face.track == 1 and (face.confidence > 0.9) == (detector is not None)
    assert mask.share(0.5) == pytest.approx(truth.mean(), rel=0.1)
    assert (frame[~truth] == before[~truth]).all()


def test_the_runtime_gets_normalised_rgb_in_the_right_layout():
    seen = []

    def runtime(batch):
        seen.append(batch)
        return np.full((1, 1, *batch.shape[2:]), -9, np.float32)

    frame = np.zeros((192, 256, 3), np.uint8)
    frame[...] = (10, 100, 200)  # BGR
    Segmenter(runtime, None, Settings(256))(frame)
    assert seen[0].shape == (1, 3, 192, 256) and seen[0].dtype == np.float32
    wanted = (np.array([200, 100, 10]) - [123.68, 116.779, 103.939]) / [58.393, 57.12, 57.375]
    np.testing.assert_allclose(seen[0][0, :, 5, 7], wanted, atol=1e-5)


def test_probabilities_are_resized_before_anything_is_cut_off():
    logits = np.full((1, 1, 32, 32), -9, np.float32)
    logits[..., 16:] = 9
    picture = np.zeros((320, 320, 3), np.uint8)
    ramp = segment_picture(lambda batch: logits, None, picture, size=32).probability[100, 154:167] / 255
    assert 0.2 < ramp[6] < 0.8 and (np.diff(ramp) >= 0).all() and len(np.unique(ramp)) > 5


def test_faces_of_one_size_go_through_the_network_together_each_at_its_own_resolution():
    frame, truth = background(720, 1280), np.zeros((720, 1280), bool)
    for index in range(8):
        truth |= draw_face(frame, (90 + 155 * index, 150 + 40 * (index % 3)), 28)
    truth |= draw_face(frame, (300, 520), 45) | draw_face(frame, (900, 520), 120)
    batches = []
    mask = Segmenter(sizes_of(batches), RedDetector())(frame)
    assert sorted(batches) == [(1, 192, 192), (1, 224, 224), (8, 128, 128)]
    assert iou(mask.probability > 127, truth) > 0.9 and len(mask.faces) == 10
    batches.clear()
    picture = segment_picture(sizes_of(batches), RedDetector(), frame, size=96)
    assert batches == [(10, 96, 96)] and iou(picture.probability > 127, truth) > 0.85
    heights = [face.box.height for face in picture.faces]
    assert heights == sorted(heights, reverse=True) and [face.track for face in picture.faces] == [
        *range(1, 11)
    ]


def test_what_the_network_marks_beside_the_faces_does_not_count():
    frame = background(480, 640)
    truth = draw_face(frame, (300, 240), 50)
    draw_face(frame, (370, 300), 8)  # too small for the detector, within the face's crop
    detector = RedDetector()
    find = detector.__call__
    (face,) = [face for face in find(frame) if face.box.height > 50]
    mask = segment_picture(red_runtime, type("One", (RedDetector,), {"__call__": lambda *_: [face]})(), frame)
    assert iou(mask.probability > 127, truth) > 0.93 and mask.probability[300, 370] == 0


def test_between_two_runs_of_the_detector_the_mask_is_followed():
    detector = RedDetector()
    segmenter = Segmenter(red_runtime, detector, Settings(224, detect_every=100), smooth=0.5)
    for step in range(30):
        frame = background(480, 640)
        truth = draw_face(frame, (100 + 12 * step, 240 + 40 * np.sin(step / 5)), 40 + step)
        mask = segmenter(frame)
        assert iou(mask.probability > 127, truth) > 0.85
        assert [face.track for face in mask.faces] == [1]
    assert detector.calls == 1


@pytest.mark.parametrize(("detect_every", "late"), [(1, 0), (8, 8)])
def test_a_face_that_comes_in_is_shown_when_the_detector_runs_and_goes_when_it_leaves(detect_every, late):
    segmenter = Segmenter(red_runtime, RedDetector(), rate=10)
    segmenter.settings = Settings(224, detect_every)
    first_seen = None
    for step in range(40):
        frame = background(480, 640)
        truth = draw_face(frame, (200, 240), 60)
        is_there = 3 <= step < 25
        if is_there:
            truth |= draw_face(frame, (500, 240), 40)
        mask = segmenter(frame)
        assert iou(mask.probability > 127, truth) > 0.88 or (is_there and first_seen is None)
        if first_seen is None and len(mask.faces) == 2:
            first_seen = step
    assert 3 <= first_seen <= 3 + late
    assert [face.track for face in mask.faces] == [1] and len(segmenter.tracks) == 1


@pytest.mark.parametrize("detect_every, hidden", [(1, True), (24, False)])
def test_to_hide_faces_one_that_is_lost_for_a_moment_keeps_its_place(detect_every, hidden):
    segmenter = Segmenter(red_runtime, RedDetector(), Settings(224, detect_every), rate=25)
    for step in range(20):
        frame = background(480, 640)
        draw_face(frame, (200, 240), 60)
        if step < 5:  # then neither detector nor network sees it
            draw_face(frame, (500, 240), 40)
        mask = segmenter(frame)
        if step == 8:
            empty = [face.box.centre[0] for face in mask.faces if not face.mask.any()]
            assert empty == ([pytest.approx(500, abs=2)] if hidden else [])
            assert not mask.probability[:, 400:].any()
    assert len(mask.faces) == 1  # after half a second it is gone


def test_a_lost_face_makes_the_detector_run_sooner():
    detector = RedDetector()
    segmenter = Segmenter(red_runtime, detector, Settings(224, detect_every=24))
    for step in range(30):
        frame = background(480, 640)
        draw_face(frame, (150 if step < 10 else 450, 240), 60)  # a jump, further than the crop reaches
        seen = segmenter(frame).faces
        if step >= 18:
            assert [face.box.centre[0] for face in seen] == [pytest.approx(450, abs=2)]
    assert detector.calls <= 3


def test_a_close_up_that_the_detector_does_not_know_counts_and_a_spot_does_not():
    segmenter = Segmenter(red_runtime, NoDetector(), smooth=0.5)
    for radius, wanted in ((120, False), (225, True), (195, True), (120, False), (225, True)):
        frame = background(480, 640)
        truth = draw_face(frame, (320, 240), radius)
        mask = segmenter(frame)
        assert (mask.share(0.5) > 0) == wanted == (len(mask.faces) == 1)
        if wanted:
            (face,) = mask.faces
            assert face.confidence == 0 and iou(mask.probability > 127, truth) > 0.9
            assert face.box.height == pytest.approx(2 * radius, abs=8)
    assert face.track == 2  # the first one was gone in between


def test_a_whole_frame_without_a_face_has_none():
    mask = Segmenter(red_runtime, None)(background(120, 160))
    assert mask.faces == () and mask.share(0.5) == 0


def test_two_faces_cheek_to_cheek_both_come_out():
    frame = background(480, 640)
    truths = [draw_face(frame, (x, 240), 60) for x in (280, 366)]
    boxes = [Region(235, 180, 325, 300), Region(321, 180, 411, 300)]
    pair = type("Pair", (RedDetector,), {"__call__": lambda *_: [Detection(box, 0.9) for box in boxes]})
    mask = segment_picture(red_runtime, pair(), frame)
    assert iou(mask.probability > 127, truths[0] | truths[1]) > 0.93
    for face, truth in zip(mask.faces, truths):
        whole = np.zeros(truth.shape, np.uint8)
        whole[face.region.rows, face.region.columns] = face.mask
        assert iou(whole > 127, truth) > 0.85


def test_a_photo_that_lies_on_its_side_is_turned():
    class Upright(RedDetector):
        """Sees faces only where the bright bar is above."""

        def __call__(self, frame: np.ndarray) -> list[Detection]:
            return super().__call__(frame) if frame[:10].mean() > 230 else []

    frame = background(300, 500)
    frame[:20] = 255
    draw_face(frame, (400, 120), 40)
    for turns in range(4):
        turned = np.ascontiguousarray(np.rot90(frame, turns))
        mask = segment_picture(red_runtime, Upright(), turned)
        truth = np.rot90(draw_face(np.zeros_like(frame), (400, 120), 40), turns)
        assert iou(mask.probability > 127, truth) > 0.93
        (face,) = mask.faces
        part = mask.probability[face.region.rows, face.region.columns]
        assert (face.mask == part).all() and face.area(0.5) == np.count_nonzero(mask.probability > 127)
        assert truth[face.box.rows, face.box.columns].sum() > 0.98 * truth.sum()
        assert mask.region == face.region


def test_a_stream_may_change_its_frame_size():
    segmenter = Segmenter(red_runtime, RedDetector(), smooth=0.5)
    for height, width in ((1080, 1920), (1080, 1920), (360, 640)):
        frame = background(height, width)
        truth = draw_face(frame, (width * 0.86, height / 2), height / 8)
        assert iou(segmenter(frame).probability > 127, truth) > 0.85


def test_settings_hold_from_the_next_frame_on():
    batches, detector = [], RedDetector()
    segmenter = Segmenter(sizes_of(batches), detector, Settings(224, 24))
    for settings in (Settings(224, 24), Settings(96, 1), Settings(96, 1), Settings(160, 24)):
        segmenter.settings = settings
        frame = background(480, 640)
        draw_face(frame, (320, 240), 100)
        segmenter(frame)
    assert [size[1] for size in batches] == [224, 96, 96, 160]
    assert detector.calls == 3


def test_the_mirror_image_is_of_each_crop():
    from runtimes.runtime import with_flip

    mask = segment_picture(with_flip(left_quarter), None, np.zeros((64, 64, 3), np.uint8), size=64)
    assert (mask.probability[32, [8, 56]] > 127).all() and mask.probability[32, 32] < 127


def test_every_stage_is_timed():
    timing = Timing()
    segmenter = Segmenter(red_runtime, RedDetector(), smooth=0.5, timing=timing)
    frame = background(240, 320)
    draw_face(frame, (160, 120), 50)
    for _ in range(3):
        segmenter(frame)
    counts = {name: len(seconds) for name, seconds in timing.seconds.items()}
    assert counts == {"find": 3, "prepare": 6, "network": 3, "smooth": 3, "mask": 3}
