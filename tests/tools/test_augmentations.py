"""The sheet of augmentations: a picture of every change, which can be looked at."""

import cv2
from programs import ended

from tools import augmentations


def test_sheet_has_a_tile_of_every_change(tmp_path):
    sheet = tmp_path / "sheet.png"
    assert ended(augmentations.main, "--output", sheet) == 0
    height, width = cv2.imread(str(sheet)).shape[:2]
    assert width == 8 * augmentations.SIDE
    assert height == augmentations.ROWS * (augmentations.SIDE + 16)
    again = tmp_path / "again.png"
    ended(augmentations.main, "--output", again)
    assert again.read_bytes() == sheet.read_bytes()


def test_the_portrait_is_not_written_over(capsys):
    before = augmentations.PORTRAIT.read_bytes()
    assert ended(augmentations.main, "--output", augmentations.PORTRAIT) == 1
    assert "is one of the inputs" in capsys.readouterr().err
    assert augmentations.PORTRAIT.read_bytes() == before
