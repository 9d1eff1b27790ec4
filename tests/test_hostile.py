"""Bad input to every option of every program: python -m pytest tests/test_hostile.py

The programs and their options are taken from their parsers, so that a new one is tried too.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import add_picture
from programs import PROGRAMS, READ, WORDS, WRITTEN, ended, given, is_number, options_of, parser_of
from safetensors.numpy import save_file
from scenes import background, draw_face, red_runtime

from files.paths import atomic_path
from files.pictures import write_image
from media.writers import VideoWriter
from runtimes.weights import read_weights
from tools import measure
from training.augment import augment
from training.checkpoint import Checkpoint
from training.loop import open_pairs
from training.options import Recipe

SUFFIXES = {  # of what --output names
    "infer": ".png",
    "tools.convert": ".safetensors",
    "tools.export": ".onnx",
}
MORE = {  # what makes a program use the option that is tried
    "infer": ["--no-window", "--max-frames", "1", "--no-flip"],
    "evaluate": ["--worst", "1"],
    "train": ["--device", "cpu", "--size", "32", "--batch-size", "1", "--workers", "0"],
}
FOLDERS = ("data", "no_face", "scenes", "export", "pictures")
NUMBERS = (
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1e10",
    "0x10",
    "1.5",
    "4294967296",
    "9" * 30,
    "9" * 5000,
    "x",
    "",
)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    """A folder with something good for every option, in which the test runs."""
    for split in ("train", "test"):
        for name in ("a", "b"):
            picture = background(64, 64)
            face = draw_face(picture, (32, 32), 16)
            write_image(tmp_path / f"data/{split}/images/{name}.png", picture[..., ::-1])
            write_image(tmp_path / f"data/{split}/masks/{name}.png", face.astype(np.uint8) * 255)
    shutil.copytree(tmp_path / "data/test/images", tmp_path / "no_face")
    arm = np.full((120, 90, 3), (70, 90, 150), np.uint8)
    write_image(tmp_path / "no_face/arm.png", cv2.line(arm, (45, 130), (45, 45), (200, 150, 120), 25))
    (tmp_path / "labels.txt").write_text("a not-judged hull\n")
    shutil.copytree(tmp_path / "data/test/images", tmp_path / "scenes/images")
    (tmp_path / "scenes/faces.json").write_text(
        '{"a.png": {"size": [64, 64], "faces": [[20, 20, 20, 30]], "maybe": []}}'
    )
    shutil.copy(tmp_path / "data/test/images/a.png", tmp_path / "source.png")
    shutil.copy(tmp_path / "data/test/images/a.png", tmp_path / "background.png")
    video = VideoWriter(tmp_path / "source.mp4", 25)
    for _ in range(4):
        add_picture(video, background(64, 64))
    video.close()
    for name in ("weights", "backbone", "resume"):
        save_file({"a": np.zeros(3, np.float32)}, tmp_path / f"{name}.safetensors", {"size": "64"})
    (tmp_path / "script.py").write_text("print('ran')\n")
    monkeypatch.chdir(tmp_path)
    for program in PROGRAMS:
        module = importlib.import_module(program)
        if hasattr(module, "open_runtime"):
            monkeypatch.setattr(module, "open_runtime", lambda *choices, **more: red_runtime)
    monkeypatch.setattr("media.run.open_runtime", lambda *choices, **more: red_runtime)
    monkeypatch.setattr(
        "tools.export.build_onnx", lambda state: argparse.Namespace(SerializeToString=lambda: b"1")
    )
    monkeypatch.setitem(sys.modules, "nncf", None)
    monkeypatch.setattr("training.loop.Training", Reader)
    monkeypatch.setattr("train.lock", lambda folder: None)  # it would last as long as the process
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Reader:
    """In place of a training: it reads what one reads, and writes what one writes."""

    rank = 0

    def __init__(self, args: Recipe, checkpoint: Checkpoint | None = None):
        self.output = Path(args.output)
        pairs = open_pairs(args)[0]
        for index in range(len(pairs)):
            pairs[index]
        for weights in filter(None, (args.weights, args.backbone)):
            read_weights(weights)

    def run(self) -> int:
        with atomic_path(self.output / "last.safetensors") as temporary:
            temporary.write_bytes(b"trained")
        (self.output / "last.safetensors").unlink()
        return 0


def good(program: str, name: str) -> str:
    """Return a value that an option takes."""
    if name == "output":
        return f"out{SUFFIXES.get(program, '')}"
    values = {
        "json": "out.json",
        "worst_picture": "worst.png",
        "data": "data",
        "no_face": "no_face",
        "labels": "labels.txt",
        "scenes": "scenes",
        "export": "data/train",
        "pictures": "data/train/images",
        "target": "made",
    }
    others = {"source": "source.png", "script": "script.py", "folder": "output"}
    return {**values, **others}.get(name, f"{name}.safetensors")


def arguments(program: str, **values: object) -> list[str]:
    """Return the arguments that are necessary, with these values of options."""
    options = options_of(program)
    needed = {name for name, option in options.items() if option.required}
    if program != "tools.export" and "scenes" not in values:
        needed |= {"data"} & options.keys()
    if program in ("infer", "tools.cluster", "tools.export"):
        needed |= {"output", "source", "weights"} & options.keys()
    chosen = {**{name: good(program, name) for name in needed}, **values}
    words = [
        word for name, option in options.items() if name in chosen for word in given(option, chosen[name])
    ]
    if program == "tools.export" and "data" in values:
        return [*words, "--int8", "--output", Path(chosen["output"]).with_suffix(".xml")]
    return words if "no_face" in values else [*words, *MORE.get(program, [])]


def run(program: str, words: list, capsys) -> tuple[int, str]:
    """Return a program's status and what it said, after a check that it ended as programs do."""
    status = ended(importlib.import_module(program).main, *words)
    said = capsys.readouterr().err
    assert "Traceback" not in said and "should not have happened" not in said, (words, said)
    assert status in (0, 1, 2) and (status == 0 or said), (words, status)
    return status, said


def read_options() -> list:
    """Return (program, option) of all that is read, but for the data of INT8, which needs NNCF."""
    pairs = [(program, name) for program in PROGRAMS for name in options_of(program) if name in READ]
    return [pair for pair in pairs if pair != ("tools.export", "data")]


def places(name: str) -> list[str]:
    """Return files behind an option's good value."""
    if name in FOLDERS:
        return sorted(str(path) for path in Path(good("", name)).rglob("a.png"))
    return ["source.png", "source.mp4"] if name == "source" else [good("", name)]


def test_every_option_is_known():
    for program in PROGRAMS:
        for name, option in options_of(program).items():
            known = is_number(option) or name in READ | WRITTEN | WORDS
            assert known, f"{program}: say in tests/programs.py what --{name} is"
            assert option.type not in (int, float), f"{program} --{name}: a number needs its range"


@pytest.mark.parametrize("program", PROGRAMS)
def test_numbers_are_checked_where_they_come_in(program, capsys):
    for name, option in options_of(program).items():
        for text in NUMBERS if is_number(option) else ():
            value = None
            try:
                value = vars(parser_of(program).parse_known_args(arguments(program, **{name: text}))[0])[name]
            except SystemExit as end:
                assert end.code == 2 and option.option_strings[0] in capsys.readouterr().err
            values = value if isinstance(value, list) else [value]
            assert all(v is None or abs(v) < 2**63 for v in values), (name, text)


@pytest.mark.parametrize("program", [p for p in PROGRAMS if WRITTEN & options_of(p).keys()])
def test_no_output_is_an_input(program, here, capsys):
    options = options_of(program)
    for output in WRITTEN & options.keys():
        for name in READ & options.keys():
            for place in places(name):
                attack(program, output, name, Path(place), capsys)


def attack(program: str, output: str, name: str, place: Path, capsys) -> None:
    """Let a program write to what it reads, under each of the names that a file can have."""
    suffix = Path(good(program, output)).suffix
    if place.suffix != suffix and name not in ("source", *FOLDERS):
        place = Path(shutil.copy(place, place.with_suffix(suffix)))  # the name that the output must have
    source = {name: place if name in ("weights", "source", "script") else good(program, name)}
    before = digests()
    link, hard = Path(f"link{suffix}"), Path(f"hard{suffix}")
    link.symlink_to(place)
    hard.hardlink_to(place) if hasattr(hard, "hardlink_to") else os.link(place, hard)
    for spelling in (place, Path("data/..") / place, place.absolute(), link, hard, place.parent):
        run(program, arguments(program, **{**source, output: spelling}), capsys)
        after = digests()
        changed = {path for path, digest in before.items() if after.get(path) != digest}
        assert not changed, (program, output, spelling, name, changed)
    for path in (link, hard):
        path.unlink()


def digests() -> dict:
    return {
        path: (path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in Path(".").rglob("*")
        if path.is_file() and not path.is_symlink() and path.stem not in ("link", "hard", "out")
    }


@pytest.mark.parametrize(("program", "name"), read_options())
def test_what_is_no_file_is_refused_in_words(program, name, here, capsys):
    for kind, mode in (("pipe", 0o010644), ("socket", 0o140644)):
        refused = []
        for place in {good(program, name), *places(name)}:
            shutil.move(place, "kept")
            os.mknod(place, mode)
            timer = threading.Timer(8, free, [place])
            timer.start()
            start = time.monotonic()
            status, said = run(program, arguments(program, **{name: value_for(program, name, place)}), capsys)
            timer.cancel()
            assert time.monotonic() - start < 8, f"{program} --{name} waits for {place}"
            refused.append(status and place in said and kind in said)
            os.unlink(place)
            shutil.move("kept", place)
        assert any(refused), said


@pytest.mark.parametrize(("program", "name"), read_options())
def test_names_that_are_no_text_work_or_are_refused(program, name, here, capsys):
    for place in {good(program, name), *places(name)}:
        odd = Path(place).with_name(os.fsdecode(b"o\xff") + Path(place).suffix)
        os.rename(place, odd)
        value = odd if place == good(program, name) else value_for(program, name, str(odd))
        run(program, arguments(program, **{name: value}), capsys)
        os.rename(odd, place)


def value_for(program: str, name: str, place: str) -> str:
    """Return the option's value with which this file is read."""
    return good(program, name) if name in FOLDERS else place


def free(pipe: str) -> None:
    """Let go who waits for a pipe."""
    if Path(pipe).is_fifo():
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))


@pytest.mark.parametrize(
    "program", [p for p in PROGRAMS if {"source", "data", "no_face"} & options_of(p).keys()]
)
def test_no_picture_is_run(program, here, capsys, monkeypatch):
    stub = here / "bin/gs"
    stub.parent.mkdir()
    stub.write_text(f"#!/bin/sh\ntouch {here}/mark\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stub.parent}:{os.environ['PATH']}")
    names = [name for name in ("source", "data", "no_face") if name in options_of(program)]
    for name in names:
        for place in places(name):
            if place.endswith(".mp4"):
                continue
            kept = Path(place).read_bytes()
            Path(place).write_bytes(POSTSCRIPT)
            run(program, arguments(program, **{name: good(program, name)}), capsys)
            Path(place).write_bytes(kept)
            assert not (here / "mark").exists(), (program, place)
    if program == "infer":
        (here / "background.png").write_bytes(POSTSCRIPT)
        assert run(program, [*arguments(program), "--view", "background:background.png"], capsys)[0] == 1
        assert not (here / "mark").exists()


def test_a_photo_of_2000x4_works_everywhere(here, capsys):
    picture, mask = np.full((4, 2000, 3), 90, np.uint8), np.zeros((4, 2000), np.uint8)
    picture[:, 500:900], mask[:, 500:900] = (230, 20, 20), 255
    for split in ("train", "test"):
        for name in ("a", "b"):
            write_image(here / f"data/{split}/images/{name}.png", picture)
            write_image(here / f"data/{split}/masks/{name}.png", mask)
    for file in ("no_face/a.png", "scenes/images/a.png", "source.png"):
        write_image(here / file, picture)
    for program in PROGRAMS:
        for name in {"source", "data", "no_face", "scenes"} & options_of(program).keys():
            if (program, name) not in (("tools.export", "data"), ("tools.cluster", "source")):
                status, said = run(program, arguments(program, **{name: good(program, name)}), capsys)
                assert status == 0, (program, name, said)
    for rng in map(np.random.default_rng, range(8)):
        assert augment(picture, mask, 64, rng, other=picture)[0].shape == (64, 64, 3)
    assert measure.rotate(picture, mask, 90)[0].shape == (2000, 4, 3)
