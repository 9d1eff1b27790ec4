"""What hands and light cost: with a network that calls red face, on made-up pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from programs import ended
from scenes import background, draw_face, red_runtime

from files.pictures import write_image
from tools import stress


@pytest.fixture(autouse=True)
def faces_are_red(monkeypatch):
    monkeypatch.setattr(stress, "open_runtime", lambda *choices: red_runtime)


@pytest.fixture
def data(tmp_path):
    """Three pictures of red faces, one without a face that is large enough, and pictures of arms."""
    for number in range(4):
        image = background(200, 300)
        truth = draw_face(image, (150, 90), 70 if number else 5)
        write_image(tmp_path / f"data/test/images/{number}.png", image[..., ::-1])
        write_image(tmp_path / f"data/test/masks/{number}.png", np.where(truth, 255, 0).astype(np.uint8))
    arm = cv2.line(np.full((240, 180, 3), (70, 90, 150), np.uint8), (90, 250), (90, 90), (200, 150, 120), 50)
    write_image(tmp_path / "hands/arm.png", arm)
    write_image(tmp_path / "empty/wall.png", np.full_like(arm, 90))
    return tmp_path


def figures(output: str) -> dict:
    """Return {case: (number of images, mean IoU)} of the test part."""
    rows = output.split("\nportrait\n")[0].splitlines()[4:]
    return {row[:16].strip(): (int(row[16:].split()[0]), float(row[16:].split()[1])) for row in rows if row}


def test_the_table_of_hands_and_lights(data, capsys):
    arguments = ["--data", data / "data", "--no-face", data / "hands", "--size", "64"]
    assert ended(stress.main, *arguments) == 0
    output = capsys.readouterr().out
    rows = figures(output)
    assert list(rows) == ["as it is", "dim", "violet", "orange", "magenta", "with a hand", "the same without"]
    assert rows["as it is"][0] == rows["violet"][0] == 3
    assert rows["as it is"][1] > 93
    assert rows["dim"][1] > 93  # brightened again
    assert rows["violet"][1] < rows["as it is"][1]  # red is no longer red
    assert rows["with a hand"][0] == rows["the same without"][0] > 0
    assert rows["with a hand"][1] < rows["the same without"][1] - 5  # the hand has the tone of the face: red
    assert ended(stress.main, *arguments) == 0
    assert capsys.readouterr().out == output


def test_pictures_without_a_hand_are_refused(data, capsys):
    assert ended(stress.main, "--data", data / "data", "--no-face", data / "empty") == 1
    assert "no hand is found" in capsys.readouterr().err
