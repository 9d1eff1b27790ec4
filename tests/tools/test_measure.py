"""The measurements themselves: python -m pytest tests/tools/test_measure.py"""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from programs import ended
from scenes import RedDetector, background, draw_face, red_runtime

from files.pictures import write_image
from tools import measure
from tools.measure import flicker, iou, lag, make_clip, smoothing


@pytest.fixture(autouse=True)
def red_faces_in_short_clips(monkeypatch):
    monkeypatch.setattr(measure, "Detector", RedDetector)
    monkeypatch.setattr(measure, "open_runtime", lambda weights: red_runtime)
    monkeypatch.setattr(measure, "LENGTH", 20)


@pytest.fixture
def photo() -> tuple[np.ndarray, np.ndarray]:
    """A red face and its mask, with a ring around it that is not judged."""
    image = background(250, 250)
    truth = draw_face(image, (125, 120), 70)
    ring = cv2.dilate(truth.astype(np.uint8), np.ones((7, 7))).astype(bool) & ~truth
    return image, np.where(truth, 255, np.where(ring, 128, 0)).astype(np.uint8)


def test_iou_counts_no_pixel_that_is_not_judged():
    truth = np.array([[255, 255, 128, 0]], np.uint8)
    assert iou(np.array([[255, 0, 255, 0]], np.uint8), truth) == 0.5
    assert iou(np.array([[200, 200, 200, 200]], np.uint8), truth) == pytest.approx(2 / 3)


def test_flicker_of_a_perfect_mask_is_none_and_of_one_wrong_pixel_is_known():
    truths = [np.zeros((10, 10), np.uint8) for _ in range(3)]
    for step, truth in enumerate(truths):
        truth[3:6, 2 + step : 6 + step] = 255
    assert flicker(truths, truths) == 0
    blinking = [truth.copy() for truth in truths]
    blinking[1][9, 9] = 255
    assert flicker(blinking, truths) == pytest.approx(100 * np.sqrt(1 / 100))
    truths[1][9, 9] = 128
    assert flicker(blinking, truths) == 0


@pytest.mark.parametrize("delay", [-1, 0, 1, 2])
def test_lag_of_masks_that_come_late_is_their_delay(delay):
    def disc(step: int) -> np.ndarray:
        mask = np.zeros((100, 300), np.uint8)
        return cv2.circle(mask, (50 + 5 * step, 50), 30, 255, -1)

    truths = [disc(step) for step in range(30)]
    masks = [disc(step - delay) for step in range(30)]
    assert lag(masks, truths) == pytest.approx(delay, abs=0.1)


def test_a_clip_moves_or_stands_still(photo):
    for speed in (0, 2):
        frames, truths = make_clip(*photo, speed, np.random.default_rng(0))
        assert len(frames) == len(truths) == measure.LENGTH and frames[0].shape == (480, 640, 3)
        assert (truths[0] != truths[-1]).any() == (speed > 0)
        redness = frames[9][..., 2].astype(int) - frames[9][..., 0]
        assert iou(np.where(redness > 100, 255, 0), truths[9]) > 0.95


def test_smoothing_is_seen_to_help(photo):
    rng = np.random.default_rng(0)

    def unsteady(batch: np.ndarray) -> np.ndarray:
        noise = rng.normal(0, 4, batch[:, :1].shape)
        return (red_runtime(batch) + noise).astype(np.float32)

    rough = smoothing(unsteady, 256, [photo], 0.0)
    smooth = smoothing(unsteady, 256, [photo], 0.7)
    assert smooth[3] < 0.8 * rough[3] and abs(smooth[2] - rough[2]) < 0.2 and smooth[0] > rough[0] - 0.01


def test_a_scene_is_scored_by_faces_found_and_by_what_is_stray():
    scene = {"size": [400, 200], "faces": [[100, 50, 40, 60], [300, 50, 8, 8]], "maybe": [[10, 150, 20, 20]]}
    marked = np.zeros((200, 400), bool)
    marked[50:66, 100:140] = True  # 27% of the first face
    marked[150:170, 10:30] = True  # what may be a face is not stray
    faces, stray = measure.score_scene(marked, scene)
    assert faces == [("10 to 20%", True), ("under 5%", False)] and stray == 0
    marked[24:34, 100:110] = True  # 26 pixels above the face, whose height is 60
    assert measure.score_scene(marked, scene)[1] == 0
    marked[0:10, 0:10] = True
    assert measure.score_scene(marked, scene)[1] == pytest.approx(100 / 80000)
    assert measure.score_scene(marked[::2, ::2], scene)[0] == faces  # a mask of another size


def test_the_table_of_scenes(tmp_path, capsys):
    frame = background(480, 640)
    draw_face(frame, (200, 200), 60)
    draw_face(frame, (500, 300), 20)
    write_image(tmp_path / "images/a.png", frame[..., ::-1])
    boxes = [[155, 140, 90, 120], [485, 280, 30, 40], [20, 20, 30, 40]]  # in the last one there is nothing
    (tmp_path / "faces.json").write_text(
        json.dumps({"a.png": {"size": [640, 480], "faces": boxes, "maybe": []}})
    )
    assert ended(measure.main, "--scenes", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].split() == ["all", "3", "2", "66.7"] and "stray: 0.0000 %" in lines[-1]


def test_the_table_of_smoothing(tmp_path, photo, monkeypatch, capsys):
    monkeypatch.setattr(measure, "LENGTH", 10)
    monkeypatch.setattr(measure, "STRENGTHS", (0.0, 0.7))
    write_image(tmp_path / "test/images/a.png", photo[0][..., ::-1])
    write_image(tmp_path / "test/masks/a.png", photo[1])
    assert ended(measure.main, "--data", tmp_path, "--clips", 1) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert [line[0] for line in lines[2:]] == ["0.0", "0.7"]
    assert all(float(line[1]) > 90 for line in lines[2:])  # IoU in percent


def test_bad_input_is_explained(tmp_path, photo, capsys):
    write_image(tmp_path / "test/images/a.png", photo[0][..., ::-1])
    write_image(tmp_path / "test/masks/a.png", np.zeros_like(photo[1]))
    for arguments, status, words in (
        ([tmp_path / "no"], 1, "no such folder"),
        ([tmp_path], 1, "no face"),
        ([tmp_path, "--clips", "0"], 2, "--clips"),
    ):
        assert ended(measure.main, "--data", *arguments) == status
        assert words in capsys.readouterr().err
