"""From a frame and its faces to the mask, among red faces: python -m pytest tests/faces/test_segmenter.py"""

from __future__ import annotations

import numpy as np
import pytest
from scenes import RedDetector, Shot, background, draw_face, iou, left_quarter, red_runtime, shots

from faces import segmenter as module
from faces.detector import Detection
from faces.mask import Mask, Region
from faces.motion import Place
from faces.segmenter import Segmenter, segment_picture
from faces.tracks import LIFE, Sighting
from runtimes.runtime import Timing, with_flip
from utils import MEAN, STD

RATE = 25.0


class Reports(RedDetector):
    """Reports these faces, whatever the picture shows."""

    def __init__(self, *boxes: Region):
        self.faces = [Detection(box, 0.9) for box in boxes]

    def detect(self, frame: np.ndarray, turned: bool = False) -> list[Detection]:
        return self.faces


class Runtime:
    """The network that knows red faces; it sees nothing in calls of these numbers."""

    def __init__(self, blind=()):
        self.blind, self.calls, self.batches = blind, 0, []

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append((len(batch), *batch.shape[2:]))
        self.calls += 1
        if self.calls - 1 in self.blind:
            return np.full((len(batch), 1, *batch.shape[2:]), -9, np.float32)
        return red_runtime(batch)


def sight(image: np.ndarray) -> list[Sighting]:
    """The red faces of an image, numbered from left to right."""
    detections = sorted(RedDetector().detect(image), key=lambda each: each.box.left)
    return [Sighting(number, Place.of(each.box), 0.9) for number, each in enumerate(detections, 1)]


def moving(count: int, size: tuple = (240, 320)) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The frames of a face that goes to the right and grows, and its masks."""
    images = [background(*size) for _ in range(count)]
    return images, [
        draw_face(image, (60 + 4 * step, 120), 36 + step / 4) for step, image in enumerate(images)
    ]


def segment(images: list, runtime, wait: bool = True, **how) -> list[Mask]:
    sighted = [(shot, sight(shot.image)) for shot in shots(images, RATE)]
    results = list(Segmenter(runtime, live=not wait, **how).segment(iter(sighted)))
    assert [frame.at for frame, _ in results] == [frame.at for frame, _ in sighted]
    return [mask for _, mask in results]


def test_the_mask_is_where_the_faces_are():
    images, truths = moving(6)
    for image, truth, mask in zip(images, truths, segment(images, red_runtime, smooth=0.5)):
        assert mask.probability.shape == truth.shape and mask.probability.dtype == np.uint8
        assert iou(mask.probability > 127, truth) > 0.9
        outside = mask.probability.copy()
        outside[mask.region.rows, mask.region.columns] = 0
        assert outside.max() <= 12
        (face,) = mask.faces
        assert (face.mask == mask.probability[face.region.rows, face.region.columns]).all()
        assert (face.track, face.confidence, face.box) == (1, 0.9, sight(image)[0].place.box)
        assert mask.share(0.5) == pytest.approx(truth.mean(), rel=0.1)


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (720, 1280), (144, 176), (37, 91), (300, 1800)])
@pytest.mark.parametrize("detector", [RedDetector(), None])
def test_a_picture_of_any_shape_is_segmented_and_left_as_it_is(shape, detector):
    frame = background(*shape)
    truth = draw_face(frame, (shape[1] / 2, shape[0] / 2), min(shape) / 3)
    before = frame.copy()
    mask = segment_picture(red_runtime, detector, frame)
    assert mask.probability.shape == shape and iou(mask.probability > 127, truth) > 0.88
    (face,) = mask.faces
    assert (face.confidence > 0.9) == (detector is not None) and (frame == before).all()


def test_the_runtime_gets_normalised_rgb_in_the_right_layout():
    seen = []

    def runtime(batch):
        seen.append(batch)
        return np.full((1, 1, *batch.shape[2:]), -9, np.float32)

    frame = np.zeros((192, 256, 3), np.uint8)
    frame[...] = (10, 100, 200)  # BGR
    segment_picture(runtime, None, frame, size=256)
    assert seen[0].shape == (1, 3, 192, 256) and seen[0].dtype == np.float32
    wanted = (np.array([200, 100, 10]) - [123.68, 116.779, 103.939]) / [58.393, 57.12, 57.375]
    np.testing.assert_allclose(seen[0][0, :, 5, 7], wanted, atol=1e-5)


def test_smoothing_takes_nothing_from_a_face_that_is_to_be_hidden(monkeypatch):
    """Where the motion is mistaken, it lowers what the network is sure of."""
    monkeypatch.setattr(module.FaceMemory, "smooth", lambda memory, probability, *seen: probability * 0.1)
    (image,), (truth,) = moving(1)
    shares = []
    for hiding in (False, True):
        segmenter = Segmenter(red_runtime, smooth=0.7)
        segmenter.set_hiding(hiding, 224)
        ((_, mask),) = segmenter.segment(iter([(next(shots([image])), sight(image))]))
        shares.append(iou(mask.probability > 127, truth))
    assert shares[0] < 0.1 and shares[1] > 0.9


def test_what_waits_for_a_mask_has_its_limit_in_memory(monkeypatch):
    taken = []

    def frames():
        for shot in shots([background(240, 320)] * 40, 100.0):
            taken.append(shot)
            yield shot, [Sighting(1, Place.of(Region(50, 50, 90, 90)), 0.9)]

    def waiting() -> int:
        taken.clear()
        results = Segmenter(Runtime(blind=range(1000))).segment(frames())
        return max(len(taken) - done for done, _ in enumerate(results))

    assert waiting() == 40
    monkeypatch.setattr(module, "MOST_BYTES", 5 * 240 * 320 * 3)
    assert waiting() == 6


def test_probabilities_are_resized_before_anything_is_cut_off():
    logits = np.full((1, 1, 32, 32), -9, np.float32)
    logits[..., 16:] = 9
    picture = np.full((320, 320, 3), 255, np.uint8)
    ramp = segment_picture(lambda batch: logits, None, picture, size=32).probability[100, 154:167] / 255
    assert 0.2 < ramp[6] < 0.8 and (np.diff(ramp) >= 0).all() and len(np.unique(ramp)) > 5


def test_faces_of_one_size_go_through_the_network_together_each_at_its_own_resolution():
    frame, truth = background(720, 1280), np.zeros((720, 1280), bool)
    for index in range(8):
        truth |= draw_face(frame, (90 + 155 * index, 150 + 40 * (index % 3)), 28)
    truth |= draw_face(frame, (300, 520), 45) | draw_face(frame, (900, 520), 120)
    runtime = Runtime()
    mask = segment_picture(runtime, RedDetector(), frame)
    assert sorted(runtime.batches) == [(1, 192, 192), (1, 224, 224), (8, 160, 160)]
    assert iou(mask.probability > 127, truth) > 0.9
    heights = [face.box.height for face in mask.faces]
    assert heights == sorted(heights, reverse=True)  # the surest first
    assert [face.track for face in mask.faces] == [*range(1, 11)]
    runtime = Runtime()
    mask = segment_picture(runtime, RedDetector(), frame, size=96)
    assert runtime.batches == [(10, 96, 96)] and iou(mask.probability > 127, truth) > 0.85


def test_of_a_crowd_in_a_video_the_masks_are_right_and_the_network_sees_every_second_face():
    images, truths = [], []
    for step in range(10):
        images.append(background(300, 900))
        centres = [(90 + 140 * index + 2 * step, 150) for index in range(6)]
        truths.append(sum(draw_face(images[-1], centre, 40) for centre in centres) > 0)
    runtime = Runtime()
    for mask, truth in zip(segment(images, runtime, smooth=0.7), truths, strict=True):
        assert iou(mask.probability > 127, truth) > 0.88 and [face.track for face in mask.faces] == [
            *range(1, 7)
        ]
    assert sum(count for count, *_ in runtime.batches) <= 6 + 9 * 4
    runtime = Runtime()
    segment([image[:, :450] for image in images], runtime, smooth=0.7)
    assert sum(count for count, *_ in runtime.batches) >= 30  # a few faces: each of them, each time


def test_what_the_network_marks_beside_the_faces_does_not_count():
    frame = background(480, 640)
    truth = draw_face(frame, (300, 240), 50)
    draw_face(frame, (370, 300), 8)  # within the crop of the face
    mask = segment_picture(red_runtime, Reports(Region(262, 190, 338, 291)), frame)
    assert iou(mask.probability > 127, truth) > 0.93 and mask.probability[300, 370] == 0


def test_a_face_of_which_the_network_sees_nothing_is_still_known():
    frame = background(240, 320)
    mask = segment_picture(red_runtime, Reports(Region(100, 80, 160, 160)), frame)
    (face,) = mask.faces
    assert face.box == (100, 80, 160, 160) and face.area(0.5) == 0 and mask.share(0.5) == 0


@pytest.mark.parametrize(("confidence", "known"), [(0.49, False), (0.5, True)])
def test_a_faint_detection_is_no_face_of_a_picture(confidence, known):
    frame, detector = background(240, 320), Reports()
    draw_face(frame, (130, 120), 40)
    detector.faces = [Detection(Region(100, 80, 160, 160), confidence)]
    assert bool(segment_picture(red_runtime, detector, frame).faces) == known


def test_two_faces_cheek_to_cheek_both_come_out():
    frame = background(480, 640)
    truths = [draw_face(frame, (x, 240), 60) for x in (280, 366)]
    boxes = Region(235, 180, 325, 300), Region(321, 180, 411, 300)
    mask = segment_picture(red_runtime, Reports(*boxes), frame)
    assert iou(mask.probability > 127, truths[0] | truths[1]) > 0.93
    for face, truth in zip(mask.faces, truths, strict=True):
        own = np.zeros(truth.shape, np.uint8)
        own[face.region.rows, face.region.columns] = face.mask
        assert iou(own > 127, truth) > 0.85


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize(("smooth", "least"), [(0.0, 0.9), (0.7, 0.9)])
def test_while_the_network_sees_nothing_the_mask_is_carried_along_with_the_face(smooth, least, wait):
    images, truths = moving(22)
    masks = segment(images, Runtime(range(6, 16)), wait, smooth=smooth)
    for mask, truth in zip(masks, truths, strict=True):
        assert iou(mask.probability > 127, truth) > least


def test_frames_before_the_first_mask_get_it_carried_back():
    images, truths = moving(14)
    for mask, truth in zip(segment(images, Runtime(range(8))), truths, strict=True):
        assert iou(mask.probability > 127, truth) > 0.85


def test_a_camera_does_not_wait_for_later_masks():
    images, _ = moving(10)
    masks = segment(images, Runtime(range(5)), wait=False)
    assert [mask.share(0.5) > 0 for mask in masks] == [False] * 5 + [True] * 5


@pytest.mark.parametrize("rate", [12.5, RATE])
def test_a_mask_is_carried_along_for_half_a_second_and_no_longer(rate):
    image, reach = moving(1)[0][0], round(LIFE * rate)
    sighted = [(Shot(image, index / rate), sight(image)) for index in range(40)]
    before = Segmenter(Runtime(range(5, 99))).segment(iter(sighted))
    assert [mask.share(0.5) > 0 for _, mask in before] == [index <= 4 + reach for index in range(40)]
    after = Segmenter(Runtime(range(35))).segment(iter(sighted))
    assert [mask.share(0.5) > 0 for _, mask in after] == [index >= 35 - reach for index in range(40)]


@pytest.mark.parametrize("blind", [range(6, 12), range(6)])
def test_a_face_that_is_only_expected_gets_no_mask_from_other_frames(blind):
    image = background(240, 480)
    for x in (80, 300):
        draw_face(image, (x, 120), 40)
    first, second = sight(image)
    sighted = [
        (shot, [first, second._replace(expected=n in blind)]) for n, shot in enumerate(shots([image] * 12))
    ]
    masks = [mask for _, mask in Segmenter(Runtime(blind)).segment(iter(sighted))]
    marked = [[face.area(0.5) > 0 for face in mask.faces] for mask in masks]
    assert marked == [[True, n not in blind] for n in range(12)]


def test_carrying_one_face_leaves_the_others_alone():
    frames, truths = [], []
    for step in range(12):
        frames.append(background(240, 480))
        truths.append([draw_face(frames[-1], (x + 3 * step, 120), 40) for x in (80, 300)])

    class HalfBlind(Runtime):
        def __call__(self, batch: np.ndarray) -> np.ndarray:
            logits = super().__call__(batch)
            if 4 <= self.calls <= 8:
                logits[0] = -9
            return logits

    for mask, pair in zip(segment(frames, HalfBlind()), truths, strict=True):
        for face, truth in zip(mask.faces, pair, strict=True):
            own = np.zeros(truth.shape, np.uint8)
            own[face.region.rows, face.region.columns] = face.mask
            assert iou(own > 127, truth) > 0.85


@pytest.mark.parametrize("blind", [(), range(99), range(3, 7)])
def test_a_cameras_frame_comes_out_before_the_next_is_taken(blind):
    image, taken = moving(1)[0][0], []

    def frames():
        for index in range(30):
            taken.append(index)
            yield Shot(image, index / RATE), sight(image)

    for index, _ in enumerate(Segmenter(Runtime(blind), live=True).segment(frames())):
        assert len(taken) == index + 1


@pytest.mark.parametrize(("blind", "most"), [((), 1), (range(99), round(LIFE * RATE) + 2)])
def test_a_files_frames_are_held_only_while_a_mask_may_come(blind, most):
    image, taken = moving(1)[0][0], []

    def frames():
        for index in range(40):
            taken.append(index)
            yield Shot(image, index / RATE), sight(image)

    given = [len(taken) - index for index, _ in enumerate(Segmenter(Runtime(blind)).segment(frames()))]
    assert len(given) == 40 and max(given[: 40 - most]) <= most


def test_a_close_up_that_the_detector_does_not_know_counts_and_a_spot_does_not():
    segmenter, results = Segmenter(red_runtime, smooth=0.5), []
    for radius, wanted in ((270, False), (320, True), (270, True), (225, False), (270, False), (320, True)):
        frame = background(480, 640)
        truth = draw_face(frame, (320, 240), radius)
        ((_, mask),) = segmenter.segment(iter([(Shot(frame, len(results) / RATE), [])]))
        results.append(mask)
        assert (mask.share(0.5) > 0) == wanted == (len(mask.faces) == 1)
        if wanted:
            (face,) = mask.faces
            assert face.confidence == 0 and iou(mask.probability > 127, truth) > 0.9
            assert face.box.height == 480


def test_a_frame_without_a_face_has_none():
    for sightings in (None, []):
        ((_, mask),) = Segmenter(red_runtime).segment(iter([(Shot(background(120, 160), 0.0), sightings)]))
        assert mask.faces == () and mask.share(0.5) == 0


def test_a_stream_may_change_its_frame_size():
    frames, truths = [], []
    for height, width in ((1080, 1920), (1080, 1920), (360, 640)):
        frames.append(background(height, width))
        truths.append(draw_face(frames[-1], (width * 0.86, height / 2), height / 8))
    for mask, truth in zip(segment(frames, red_runtime, smooth=0.5), truths, strict=True):
        assert iou(mask.probability > 127, truth) > 0.85


def test_the_size_holds_from_the_next_frame_on():
    runtime, image = Runtime(), background(480, 640)
    draw_face(image, (320, 240), 100)
    segmenter = Segmenter(runtime, smooth=0.5)
    for index, size in enumerate((224, 96, 96, 160)):
        segmenter.size = size
        list(segmenter.segment(iter([(Shot(image, index / RATE), sight(image))])))
    assert [size[1] for size in runtime.batches] == [224, 96, 96, 160]


def test_the_crop_of_a_face_that_grows_slowly_does_not_flip_between_two_sizes():
    images = [background(480, 640) for _ in range(20)]
    for index, image in enumerate(images):
        draw_face(image, (320, 240), 52 + index % 2)  # 208 or 212 pixels: 192 or 224
    runtime = Runtime()
    segment(images, runtime)
    assert len({size for _, size, _ in runtime.batches}) == 1


@pytest.mark.parametrize("level", [60, 95, 130])
def test_the_brightening_is_steady_when_the_light_flickers(level):
    given, levels = [], [level + 6 * (index % 2) for index in range(40)]
    pattern = np.random.default_rng(0).uniform(0, 0.6, (240, 320, 3))
    pattern[:, ::20] = 1  # lamps

    def runtime(batch: np.ndarray) -> np.ndarray:
        given.append((batch * STD[:, None, None] + MEAN[:, None, None]).mean())
        return np.full((len(batch), 1, *batch.shape[2:]), -9, np.float32)

    sightings = [Sighting(1, Place(160, 120, 60, 80), 0.9)]
    images = [(each * pattern).astype(np.uint8) for each in levels]
    list(Segmenter(runtime).segment((shot, sightings) for shot in shots(images)))
    gains = np.array(given) / [image.mean() for image in images]
    assert gains[-1] > 1.1 and np.abs(np.diff(gains[10:])).max() < 0.02 * gains.min()


def test_the_mirror_image_is_of_each_crop():
    mask = segment_picture(with_flip(left_quarter), None, np.zeros((64, 64, 3), np.uint8), size=64)
    assert (mask.probability[32, [8, 56]] > 127).all() and mask.probability[32, 32] < 127


def test_every_stage_is_timed():
    timing, image = Timing(), background(240, 320)
    draw_face(image, (160, 120), 50)
    segment_picture(red_runtime, RedDetector(), image, timing=timing)
    assert set(timing.seconds) == {"detect", "prepare", "network", "smooth", "mask"}
    assert all(seconds > 0 for times in timing.seconds.values() for seconds in times)
