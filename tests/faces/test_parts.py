"""Faces and what only looks like them: python -m pytest tests/faces/test_parts.py"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import scenes
from scenes import background, draw_face, red_runtime

from faces.follow import crop_about
from faces.mask import Region
from faces.parts import confirms, find_faces, iou, keep, solidity
from faces.segmenter import Segmenter, segment_picture

REGION, SIZE = Region(0, 0, 256, 192), (192, 256)


def test_specks_are_no_faces():
    probability = np.zeros(SIZE, np.float32)
    assert find_faces(probability, REGION, SIZE) == []
    probability[50:100, 50:100] = 1
    probability[120:150, 200:230] = 1
    probability[150:153, 20:23] = 1
    boxes = [face.box for face in find_faces(probability, REGION, SIZE)]
    assert boxes == [(50, 50, 100, 100), (200, 120, 230, 150)]
    probability[:] = 0
    probability[5:9, 5:9] = 1  # a spot by itself
    assert find_faces(probability, REGION, SIZE) == []


def test_rags_are_no_faces_beside_one():
    rag, face = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
    rag[100:190, 20:110] = 1
    for left in range(30, 110, 20):
        rag[100:170, left : left + 8] = 0
    cv2.ellipse(face, (180, 60), (25, 35), 0, 0, 360, 1, -1)
    rag_box, face_box = (20, 100, 110, 190), (155, 25, 206, 96)
    boxes = [
        [found.box for found in find_faces(probability, REGION, SIZE)]
        for probability in (rag, face, rag + face, face + np.roll(face, -100, axis=1))
    ]
    assert boxes == [[rag_box], [face_box], [face_box], [(55, 25, 106, 96), face_box]]
    assert solidity(face > 0) > 0.98 and solidity(rag > 0) < 0.78


def test_boxes_are_in_the_frames_pixels():
    probability = np.zeros(SIZE, np.float32)
    probability[48:96, 64:128] = 1
    faces = find_faces(probability, Region(100, 200, 612, 584), (720, 1280))
    assert faces[0].box == (228, 296, 356, 392)


def test_keep_leaves_the_soft_edge_and_drops_the_rest():
    probability = np.zeros(SIZE, np.float32)
    cv2.circle(probability, (60, 60), 30, 1, -1)
    probability[100:104, 200:204] = 1
    probability = cv2.GaussianBlur(probability, (0, 0), 1.5)
    kept = keep(probability, find_faces(probability, REGION, SIZE))
    np.testing.assert_allclose(kept[:, :120], probability[:, :120], atol=0.01)
    assert not kept[:, 150:].any()


def test_iou_of_boxes():
    assert iou(Region(0, 0, 10, 10), Region(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou(Region(0, 0, 10, 10), Region(20, 20, 30, 30)) == 0


@pytest.mark.parametrize(("part", "wanted"), [(0.25, True), (0.7, False), (0.04, False)])
def test_a_crop_confirms_what_has_a_faces_size_in_it(part, wanted):
    """part: half axes of the ellipse that the closer look sees, in parts of the crop's sides."""
    box = Region(500, 300, 580, 400)
    crop, size = crop_about(box, (720, 1280), 256)
    probability = np.zeros(size, np.float32)
    axes = (int(size[1] * part), int(size[0] * part))
    cv2.ellipse(probability, (size[1] // 2, size[0] // 2), axes, 0, 0, 360, 1, -1)
    assert (confirms(probability, crop, box, (720, 1280)) is not None) is wanted
    assert confirms(np.zeros(size, np.float32), crop, box, (720, 1280)) is None


def test_a_face_may_be_cut_off_at_the_frames_edge_only():
    for left, wanted in ((0, True), (400, False)):
        box = Region(left, 300, left + 80, 400)
        crop, size = Region(left, 280, left + 180, 520), (256, 192)
        probability = np.zeros(size, np.float32)
        probability[10:150, :96] = 1
        assert (confirms(probability, crop, box, (720, 1280)) is not None) is wanted


def test_what_looks_like_a_face_from_afar_only_is_left_out():
    calls = []

    def fooled_from_afar(batch: np.ndarray) -> np.ndarray:
        calls.append(batch.shape[2:])
        logits = red_runtime(batch)
        if batch.shape[2:] == (160, 256):  # the whole of a frame of 16:9
            logits[..., 80:92, 200:212] = 5
        return logits

    frame = background(720, 1280)
    truth = draw_face(frame, (300, 300), 60)
    assert scenes.iou(segment_picture(fooled_from_afar, frame, closer=False) > 0.5, truth) < 0.8
    assert scenes.iou(segment_picture(fooled_from_afar, frame) > 0.5, truth) > 0.95
    segmenter = Segmenter(fooled_from_afar)
    for _ in range(40):
        assert scenes.iou(segmenter(frame).probability > 127, truth) > 0.88
    assert len(calls) < 60  # a verdict stands for a while: no closer look in every frame


def test_two_faces_far_apart_are_both_kept_without_a_closer_look_in_every_frame():
    calls = []

    def runtime(batch: np.ndarray) -> np.ndarray:
        calls.append(1)
        return red_runtime(batch)

    segmenter = Segmenter(runtime)
    for step in range(60):
        frame = background(720, 1280)
        truth = draw_face(frame, (150 + step, 300), 70) | draw_face(frame, (1100 - step, 400), 90)
        mask = segmenter(frame)
        assert scenes.iou(mask.probability > 127, truth) > 0.9
    assert len(calls) < 75
