"""The measurements themselves: python -m pytest tests/tools/test_measure.py"""

from __future__ import annotations

import json

import numpy as np
import pytest
from programs import ended
from scenes import RedDetector, background, draw_face, red_runtime

from files.pictures import write_image
from tools import measure


@pytest.fixture(autouse=True)
def faces_are_red(monkeypatch):
    monkeypatch.setattr(measure, "Detector", RedDetector)
    monkeypatch.setattr(measure, "open_runtime", lambda weights: red_runtime)


@pytest.fixture
def photo() -> tuple[np.ndarray, np.ndarray]:
    """A red face, HWC uint8 BGR, and its mask."""
    image = background(200, 300)
    truth = draw_face(image, (80, 90), 60)
    return image, np.where(truth, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("angle", [0, 30, 90, 180])
def test_a_picture_and_its_mask_turn_together_and_all_of_them_stays(photo, angle):
    image, mask = photo
    turned, truth = measure.rotate(image, mask, angle)
    assert np.count_nonzero(truth == 255) == pytest.approx(np.count_nonzero(mask == 255), rel=0.02)
    redness = turned[..., 2].astype(int) - turned[..., 1]
    assert np.count_nonzero((redness > 60) != (truth == 255)) < 0.02 * mask.size
    judged = np.count_nonzero(truth != 128)
    assert judged == pytest.approx(mask.size, rel=0.02) and truth.shape == turned.shape[:2]
    if angle == 90:
        assert np.array_equal(truth, np.rot90(mask)) and np.array_equal(turned, np.rot90(image))


@pytest.mark.parametrize(("options", "angles"), [((), [0]), (("--rotated",), [0, 30, 60, 90, 120, 150, 180])])
def test_the_table_of_rotated_pictures(tmp_path, photo, capsys, options, angles):
    for name in "ab":
        write_image(tmp_path / f"test/images/{name}.png", photo[0][..., ::-1])
        write_image(tmp_path / f"test/masks/{name}.png", photo[1])
    assert ended(measure.main, "--data", tmp_path, *options, "--limit", 1) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert [(int(row[0]), row[1]) for row in rows] == [(angle, "1") for angle in angles]
    assert all(float(row[2]) > 93 for row in rows)


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


def test_a_quarter_of_its_box_is_enough():
    scene, marked = {"size": [100, 100], "faces": [[10, 10, 20, 20]], "maybe": []}, np.zeros((100, 100), bool)
    marked[10:20, 10:20] = True
    assert measure.score_scene(marked, scene)[0] == [("over 20%", True)]
    marked[10, 10] = False
    assert measure.score_scene(marked, scene)[0] == [("over 20%", False)]


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


def test_masks_without_a_face_are_no_success(tmp_path, photo, capsys):
    write_image(tmp_path / "test/images/a.png", photo[0])
    write_image(tmp_path / "test/masks/a.png", np.full_like(photo[1], 128))
    assert ended(measure.main, "--data", tmp_path, "--rotated") == 1
    assert "no mask of these 1 pictures marks a face" in capsys.readouterr().err


@pytest.mark.parametrize(
    "scenes",
    [
        "{}",
        '{"a.png": {"size": [64, 64], "faces": [], "maybe": []}}',
        '{"a.png": {"size": [64, -64], "faces": [[1, 1, 9, 9]], "maybe": []}}',
        '{"a.png": {"size": [64, 64], "faces": [[1, 1, 9, 0]], "maybe": []}}',
        '{"a.png": {"size": [64, 64], "faces": [[1, 1, 9]], "maybe": []}}',
        '{"a.png": {"size": [64, 64], "faces": [[1, 1, 9, "9"]], "maybe": []}}',
        '{"a.png": {"size": [1000000, 64], "faces": [[1, 1, 9, 9]], "maybe": []}}',
    ],
)
def test_boxes_that_make_no_sense_are_explained(tmp_path, scenes, capsys):
    (tmp_path / "faces.json").write_text(scenes)
    assert ended(measure.main, "--scenes", tmp_path) == 1
    assert "faces.json does not list the boxes of faces" in capsys.readouterr().err


def test_bad_input_is_explained(tmp_path, capsys):
    for arguments, status, words in (
        (["--data", tmp_path / "no"], 1, "no such folder"),
        (["--data", tmp_path, "--limit", "0"], 2, "--limit"),
        (["--scenes", tmp_path, "--rotated"], 2, "--rotated goes with --data"),
    ):
        assert ended(measure.main, *arguments) == status
        assert words in capsys.readouterr().err
