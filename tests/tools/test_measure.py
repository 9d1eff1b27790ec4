"""The measurements themselves: python -m pytest tests/tools/test_measure.py"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import RedFinder, background, draw_face, red_runtime

from files.pictures import write_image
from tools import measure
from tools.measure import flicker, iou, lag, make_clip, paste_photo, small_faces, smoothing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def red_finder(monkeypatch):
    monkeypatch.setattr(measure, "Finder", RedFinder)


@pytest.fixture
def photo() -> tuple[np.ndarray, np.ndarray]:
    """A red face and its mask, with a ring around it that is not judged."""
    image = background(250, 250)
    truth = draw_face(image, (125, 120), 70)
    ring = cv2.dilate(truth.astype(np.uint8), np.ones((7, 7))).astype(bool) & ~truth
    return image, np.where(truth, 255, np.where(ring, 128, 0)).astype(np.uint8)


def test_iou_counts_no_pixel_that_is_not_judged():
    truth = np.array([[255, 255, 128, 0]], np.uint8)
    assert iou(np.array([[1.0, 0.0, 1.0, 0.0]], np.float32), truth) == 0.5
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


def test_a_pasted_photo_lies_where_its_mask_is(photo):
    frame, truth = paste_photo(*photo, 150, np.random.default_rng(0))
    assert frame.shape == (720, 1280, 3) and set(np.unique(truth)) == {0, 128, 255}
    height = np.ptp(np.nonzero(truth == 255)[0])
    assert height == pytest.approx(140 * 150 / 250, abs=3)
    redness = frame[..., 2].astype(int) - frame[..., 0]
    assert np.percentile(redness[truth == 255], 5) > 100 > np.percentile(redness[truth == 0], 99.9)


def test_a_clip_moves_or_stands_still(photo):
    for speed in (0, 2):
        frames, truths = make_clip(*photo, speed, np.random.default_rng(0))
        assert len(frames) == len(truths) == measure.LENGTH and frames[0].shape == (480, 640, 3)
        assert (truths[0] != truths[-1]).any() == (speed > 0)
        redness = frames[9][..., 2].astype(int) - frames[9][..., 0]
        assert iou((redness > 100).astype(np.float32), truths[9]) > 0.95


def test_following_and_smoothing_are_seen_to_help(photo):
    whole, followed, picture = small_faces(red_runtime, 256, [photo], 120)
    assert whole < followed and whole < picture and followed > 0.9
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


def test_the_table_of_scenes(tmp_path, monkeypatch, capsys):
    frame = background(480, 640)
    draw_face(frame, (200, 200), 60)
    draw_face(frame, (500, 300), 20)
    write_image(tmp_path / "images/a.png", frame[..., ::-1])
    boxes = [[155, 140, 90, 120], [485, 280, 30, 40], [20, 20, 30, 40]]  # in the last one there is nothing
    (tmp_path / "faces.json").write_text(
        json.dumps({"a.png": {"size": [640, 480], "faces": boxes, "maybe": []}})
    )
    monkeypatch.setattr(measure, "open_runtime", lambda weights: RedRuntime())
    monkeypatch.setattr(sys, "argv", ["measure.py", "--scenes", str(tmp_path)])
    measure.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].split() == ["all", "3", "2", "66.7"] and "stray: 0.0000 %" in lines[-1]


class RedRuntime:
    name = "a stub"

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return red_runtime(batch)


def test_both_tables(tmp_path, photo, monkeypatch, capsys):
    write_image(tmp_path / "test/images/a.png", photo[0][..., ::-1])
    write_image(tmp_path / "test/masks/a.png", photo[1])
    monkeypatch.setattr(measure, "open_runtime", lambda weights: RedRuntime())
    monkeypatch.setattr(measure, "LENGTH", 10)
    monkeypatch.setattr(sys, "argv", ["measure.py", "--data", str(tmp_path), "--photos", "1", "--clips", "1"])
    measure.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert [line[0] for line in lines[2:5]] == [str(side) for side in measure.SIDES]
    assert all(float(line[3]) > 90 for line in lines[2:5])  # IoU of following, in percent
    assert [line[0] for line in lines[6:]] == [str(strength) for strength in measure.STRENGTHS]
    assert all(float(line[1]) > 90 for line in lines[6:])


def test_bad_input_is_explained(tmp_path, photo, random_weights):
    write_image(tmp_path / "test/images/a.png", photo[0][..., ::-1])
    write_image(tmp_path / "test/masks/a.png", np.zeros_like(photo[1]))
    command = [sys.executable, "-m", "tools.measure", "--weights", str(random_weights), "--data"]
    for arguments, words in (
        ([str(tmp_path / "no")], "no such folder"),
        ([str(tmp_path)], "no face"),
        ([str(tmp_path), "--photos", "0"], "--photos"),
    ):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode in (1, 2) and words in done.stderr and "Traceback" not in done.stderr
