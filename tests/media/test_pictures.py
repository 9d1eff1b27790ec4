"""Pictures as a source and the names of what is written for them: python -m pytest tests/media"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from media.pictures import is_pictures, name_outputs
from utils import UserError, find_pictures, write_image


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """photos/ with b.jpg, a.PNG, a.jpg, notes.txt and more/c.png; it is the current folder's."""
    for name in ("b.jpg", "a.PNG", "a.jpg", "more/c.png"):
        write_image(tmp_path / "photos" / name, np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    (tmp_path / "clip.mp4").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def names(paths: list[Path]) -> list[str]:
    return [path.as_posix() for path in paths]


def test_what_is_meant_as_pictures(folder):
    assert all(
        is_pictures(spec) for spec in ("photos", "photos/a.jpg", "photos/*.jpg", "photos/*", "missing.png")
    )
    assert not any(
        is_pictures(spec) for spec in ("clip.mp4", "0", "rtsp://host/a.jpg", "http://host/?a", "sample")
    )


def test_finding(folder):
    assert names(find_pictures("photos")) == ["photos/a.PNG", "photos/a.jpg", "photos/b.jpg"]
    assert names(find_pictures("photos/*.jpg")) == ["photos/a.jpg", "photos/b.jpg"]
    assert names(find_pictures("photos/**/*.[pP]*")) == ["photos/a.PNG", "photos/more/c.png"]
    assert names(find_pictures("photos/b.jpg")) == ["photos/b.jpg"]


@pytest.mark.parametrize("spec", ["missing.png", "empty", "photos/*.bmp"])
def test_nothing_found_is_told(folder, spec):
    Path("empty").mkdir()
    with pytest.raises(UserError, match=r"no picture|no such file"):
        find_pictures(spec)


def test_a_name_with_brackets_is_a_file_if_there_is_one(folder):
    os.rename("photos/a.jpg", "photos/a[1].jpg")
    assert names(find_pictures("photos/a[1].jpg")) == ["photos/a[1].jpg"]
    assert names(name_outputs([Path("photos/a[1].jpg")], "photos/a[1].jpg", "out.png")) == ["out.png"]


def outputs(spec: str, output: str, suffix: str | None = None) -> list[str]:
    return names(name_outputs(find_pictures(spec), spec, output, suffix))


def test_names_of_outputs(folder):
    assert outputs("photos", "out") == ["out/a.PNG", "out/a.jpg", "out/b.jpg"]
    assert outputs("photos/**/*.png", "out") == ["out/more/c.png"]
    assert outputs("photos/b.jpg", "out/new.webp") == ["out/new.webp"]
    assert outputs("photos/b.jpg", "out") == ["out/b.jpg"]
    assert outputs("photos/b.jpg", "photos/more") == ["photos/more/b.jpg"]
    assert outputs("photos/b*.jpg", "out") == ["out/b.jpg"]


def test_another_suffix_never_makes_two_outputs_one(folder):
    assert outputs("photos", "out", ".png") == ["out/a.PNG.png", "out/a.jpg.png", "out/b.png"]
    assert outputs("photos/b.jpg", "cut.png", ".png") == ["cut.png"]
    (folder / "a.jpg.png").write_bytes(b"")
    assert len(set(outputs("photos", "out", ".png"))) == 4


def test_inputs_are_never_overwritten(folder):
    for spec, output in (
        ("photos", "photos"),
        ("photos/b.jpg", "photos/b.jpg"),
        ("photos/b.jpg", "photos/../photos"),
    ):
        with pytest.raises(UserError, match="one of the inputs"):
            outputs(spec, output)
    os.symlink("photos", "link")
    os.link("photos/b.jpg", "hard.jpg")
    for spec, output in (("photos", "link"), ("photos/b.jpg", "hard.jpg")):
        with pytest.raises(UserError, match="one of the inputs"):
            outputs(spec, output)


def test_nothing_beside_the_pictures_is_overwritten_unless_named(folder):
    (folder / "b.png").write_bytes(b"another picture")
    with pytest.raises(UserError, match=r"b.png is there already, beside the pictures"):
        outputs("photos/b.jpg", "photos", ".png")
    assert outputs("photos/b.jpg", "photos/b.png", ".png") == ["photos/b.png"]
    assert outputs("photos/b.jpg", "out", ".png") == ["out/b.png"]


def test_what_else_is_read_is_not_overwritten(folder):
    with pytest.raises(UserError, match="one of the inputs"):
        name_outputs([Path("photos/b.jpg")], "photos/b.jpg", "photos/a.jpg", others=[Path("photos/a.jpg")])


def test_outputs_that_cannot_be(folder):
    with pytest.raises(UserError, match="output is a folder"):
        outputs("photos", "clip.mp4")
    with pytest.raises(UserError, match="the output is a picture"):
        outputs("photos/b.jpg", "out.mp4")
    with pytest.raises(UserError, match="cannot hold this view"):
        outputs("photos/b.jpg", "out.jpg", ".png")
