"""Hundreds of bad inputs for real programs, and kills: python -m pytest -m slow -s tests/test_attacks.py

Each program runs as a process of its own, forked from this one to save the imports. Printed are the counts.
"""

from __future__ import annotations

import collections
import http.server
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from attacks import LIMIT, Count
from bad_files import bad_pictures, bad_videos, bad_weights, fuzzed, random_word
from clips import add_picture, make_clip
from odd_media import LAYOUTS, ODD_PATHS, SOUNDS, OddServer, moving, odd_pictures, odd_videos, with_sound
from programs import PROGRAMS, WRITTEN, given, is_number, options_of
from safetensors.numpy import save_file
from scenes import RedDetector, background, draw_face, red_runtime

from files.pictures import ANIMATED_SUFFIXES, write_image
from files.pictures import WRITTEN as WRITTEN_PICTURES
from media.views import VIEWS
from media.writers import FORMATS, VideoWriter

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
LIGHT = [program for program in PROGRAMS if program != "train"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch, random_weights: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    os.link(random_weights, "weights.safetensors")
    for split in ("train", "test"):
        picture = background(64, 64)
        face = draw_face(picture, (32, 32), 16)
        write_image(f"data/{split}/images/a.png", picture[..., ::-1])
        write_image(f"data/{split}/masks/a.png", face.astype(np.uint8) * 255)
    shutil.copy("data/test/images/a.png", "good.png")
    video = VideoWriter("good.mp4", 25)
    for _ in range(10):
        add_picture(video, background(64, 64))
    video.close()
    Path("bin").mkdir()
    Path("bin/gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    Path("bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


OWN = ["--weights", "weights.safetensors", "--size", "64"]
LIVE = [*OWN, "--no-window", "--reconnect", "0"]


@pytest.fixture
def count(here):
    for module in (*LIGHT, "onnx", "openvino"):
        importlib.import_module(module)
    count = Count()
    yield count
    print("\n" + ", ".join(f"{name} {number}" for name, number in sorted(count.items())), flush=True)


def test_bad_weights(here, count):
    for weights in bad_weights(here / "w"):
        count.attempt("infer", "--source", "good.png", "--output", "out.png", "--weights", weights)
        count.attempt("evaluate", "--data", "data", "--weights", weights)
        count.attempt("tools.convert", "--weights", weights, "--output", "out.safetensors")
        count.attempt("tools.export", "--weights", weights, "--output", "out.onnx")
    assert count["attempts"] > 150 and not count.bad


def test_bad_pictures(here, count):
    for picture in bad_pictures(here / "p"):
        count.attempt("infer", "--source", picture, "--output", "out.png", *LIVE)
        view = f"background:{picture}"
        count.attempt("infer", "--source", "good.png", "--view", view, "--output", "out.png", *LIVE)
        for kind in ("images", "masks"):
            place = Path(f"data/test/{kind}/a.png")
            place.rename("kept")
            place.symlink_to(picture)
            count.attempt("dataset", "data", "--split", "test")
            place.unlink()
            Path("kept").rename(place)
    assert count["attempts"] > 100 and not count.bad


def test_bad_videos(here, count):
    for video in bad_videos(here / "v"):
        count.attempt("infer", "--source", video, "--output", "out.mp4", *LIVE)
    assert count["attempts"] > 20 and not count.bad


def test_places_where_nothing_can_be_written(here, count):
    odd = os.fsdecode(b"o\xff/x.png")
    os.mkfifo("pipe.png")
    for place in ("/dev/full", "data", "good.png/x", "x" * 300 + ".png", odd, "pipe.png"):
        count.attempt("evaluate", "--data", "data", *OWN, "--json", place)
        count.attempt("tools.export", "--weights", "weights.safetensors", "--output", place)
        count.attempt("infer", "--source", "good.png", "--output", place, *LIVE)
        count.attempt("infer", "--source", "good.mp4", "--output", place, *LIVE)
    assert count["attempts"] > 20 and not count.bad


def test_absurd_numbers(here, count):
    for program in LIGHT:
        for option in options_of(program).values():
            for text in ("-1", "nan", "1e400", "4294967296", "9" * 999, "x") if is_number(option) else ():
                count.attempt(program, *given(option, text))
    assert count["attempts"] > 50 and not count.bad


@pytest.fixture
def quick(monkeypatch):
    """A network and a detector that know red faces, where it is the media that are odd."""
    monkeypatch.setattr("infer.open_network", lambda options: red_runtime)
    monkeypatch.setattr("media.run.Detector", RedDetector)


def test_odd_videos(here, count, quick):
    for video in odd_videos(here / "v"):
        for output in ("out.mp4", "out.webm") if video.suffix != ".gif" else ("out.mp4", "out.gif"):
            count.attempt("infer", "--source", video, "--output", output, *LIVE)
    assert count["attempts"] > 40 and not count.bad


def test_all_sounds_that_cameras_write(here, count, quick):
    for suffix in ("avi", "mkv", "mov"):
        for codec in SOUNDS:
            for layout in LAYOUTS:
                for rate in (12000, 44100):
                    source = with_sound(here / f"sound.{suffix}", codec, layout, rate)
                    done = count["status 0"]
                    if source is not None:
                        count.attempt("infer", "--source", source, "--output", "out.mp4", *LIVE)
                        assert count["status 0"] == done + 1, (suffix, codec, layout, rate)
    assert count["attempts"] > 40 and not count.bad


def test_odd_pictures(here, count, quick):
    for picture in odd_pictures(here / "p"):
        count.attempt("infer", "--source", picture, "--output", "out.png", *LIVE)
    assert count["attempts"] > 20 and not count.bad


def test_every_view_into_every_format(here, count, quick):
    make_clip("in.mp4", moving(3))
    write_image("in.gif", *moving(3))
    for view in VIEWS:
        for source, suffixes in (
            ("good.png", WRITTEN_PICTURES),
            ("in.mp4", FORMATS),
            ("in.gif", ANIMATED_SUFFIXES),
        ):
            for suffix in suffixes:
                count.attempt("infer", "--source", source, "--output", f"out{suffix}", "--view", view, *LIVE)
    assert count["attempts"] > 150 and not count.bad


def test_odd_servers(here, count, quick, monkeypatch):
    monkeypatch.setattr("media.streams.FETCH_SECONDS", 5)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OddServer) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ODD_PATHS:
            for suffix in (".png", ".mp4", ""):
                address = f"http://me:secret@127.0.0.1:{server.server_address[1]}/{name}{suffix}"
                count.attempt("infer", "--source", address, "--output", "out.mp4", *LIVE)
        server.shutdown()
    assert count["attempts"] == 30 and not count.bad and not count["status 0"]


def test_a_full_disk(here, count, quick):
    os.mkdir("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", "disk"]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small disk can be made here")
    try:
        rng = np.random.default_rng(0)
        make_clip("large.mp4", [rng.integers(0, 255, (480, 640, 3), np.uint8) for _ in range(40)])
        for name in ("a.mp4", "a.webm", "a.mkv", "a.gif", "frames"):
            view = ["--view", "cutout"] if name == "frames" else ["--table", "disk/faces.csv"]
            count.attempt("infer", "--source", "large.mp4", "--output", f"disk/{name}", *view, *LIVE)
            subprocess.run(["find", "disk", "-mindepth", "1", "-delete"], check=True)
        count.attempt("tools.export", "--weights", "weights.safetensors", "--output", "disk/a.onnx")
        count.attempt("tools.convert", "--weights", "weights.safetensors", "--output", "disk/a.safetensors")
        assert not list(Path("disk").iterdir()), "litter"
    finally:
        subprocess.run(["umount", "disk"], check=True)
    assert count["attempts"] == 7 and not count.bad and not count["status 0"]


def test_figures_that_cannot_be(here, count):
    Path("sparse.safetensors").touch()
    os.truncate("sparse.safetensors", 8 << 30)
    Path("scenes/images").mkdir(parents=True)
    shutil.copy("good.png", "scenes/images/a.png")
    for size in ([100_000, 100_000], [0, 0], [-1, 5], ["x", None], [64], 1e400):
        Path("scenes/faces.json").write_text(
            json.dumps({"a.png": {"size": size, "faces": [[1, 1, 9, 9]], "maybe": []}})
        )
        count.attempt("evaluate", "--scenes", "scenes", *OWN)
    for weights in ("sparse.safetensors", "sparse.safetensors/x"):
        count.attempt("infer", "--source", "good.png", "--output", "out.png", "--weights", weights)
        count.attempt("tools.convert", "--weights", weights, "--output", "out.safetensors")
    for size in ("100x100", "100", "0", "32"):
        count.attempt(
            "tools.export", "--weights", "weights.safetensors", "--output", "out.onnx", "--size", size
        )
    assert count["attempts"] == 14 and not count.bad


FUZZED = {  # the good file of each kind
    "mp4": lambda path: make_clip(path, moving(12), sound="aac"),
    "mkv": lambda path: make_clip(path, moving(12), sound="pcm_s16le"),
    "avi": lambda path: make_clip(path, moving(12), codec="mjpeg", pix_fmt="yuvj420p", sound="mp3"),
    "webm": lambda path: make_clip(path, moving(8), codec="libvpx-vp9", sound="libopus"),
    "gif": lambda path: write_image(path, *moving(4), seconds=[0.1] * 4),
    "png": lambda path: write_image(path, moving(1)[0]),
    "jpg": lambda path: write_image(path, moving(1)[0]),
    "tiff": lambda path: write_image(path, *moving(2)),
}
MANY = int(os.environ.get("FUZZ", 20))  # of each kind: FUZZ=100 takes an hour


@pytest.mark.parametrize("kind", FUZZED)
def test_damaged_pictures_and_videos(kind, here, count, quick):
    damaged = Path(f"damaged.{kind}")
    FUZZED[kind](damaged)
    for data in fuzzed(damaged.read_bytes(), kind, MANY):
        damaged.write_bytes(data)
        output = "out.png" if kind in ("png", "jpg") else "out.mp4"
        count.attempt("infer", "--source", damaged, "--output", output, "--table", "out.csv", *LIVE)
    assert count["attempts"] == MANY and not count.bad


def test_damaged_weights(here, count):
    good, damaged = Path("weights.safetensors").read_bytes(), Path("damaged.safetensors")
    header = 8 + int.from_bytes(good[:8], "little")
    for data in fuzzed(good[: header + 1000], "safetensors", MANY):
        damaged.write_bytes(data + good[header + 1000 :])
        words = ("--source", "good.png", "--output", "out.png", "--weights", damaged)
        count.attempt("infer", *words, "--size", "64", "--no-window")
    assert count["attempts"] == MANY and not count.bad


def test_odd_options(here, count):
    for seed in range(MANY):
        rng = random.Random(seed)
        program = rng.choice(LIGHT)
        options = options_of(program)
        needed = [word for option in options.values() if option.required for word in given(option, "out")]
        names = sorted(options.keys() - WRITTEN)
        chosen = [given(options[rng.choice(names)], random_word(rng)) for _ in names[:2]]
        count.attempt(program, *needed, *(word for words in chosen for word in words))
    assert count["attempts"] == MANY and not count.bad


KILLED = {  # the program's arguments; how often it is killed; after how many seconds, from and to
    "convert": (
        ["-m", "tools.convert", "--weights", "big.safetensors", "--output", "out.safetensors"],
        20,
        0.1,
        2,
    ),
    "export": (
        ["-m", "tools.export", "--weights", "weights.safetensors", "--output", "out.onnx"],
        12,
        0.3,
        4,
    ),
    "infer": (["infer.py", "--source", "sample", "--output", "out.mp4", "--no-window", *OWN], 20, 0.5, 12),
    "train": (
        ["train.py", "--demo", "--output", "out", "--epochs", "2", "--save-minutes", "0.001"],
        12,
        3,
        20,
    ),
}


@pytest.mark.parametrize("name", KILLED)
def test_kills(name, here):
    """Kill a program at random moments: earlier output stays whole, and the next run leaves no litter."""
    words, times, *wait = KILLED[name]
    rng = random.Random(int(os.environ.get("SEED", 0)))
    save_file({"big": np.zeros(20_000_000, np.float32)}, "big.safetensors")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [
        sys.executable,
        *(str(ROOT / word) if word in ("infer.py", "train.py") else word for word in words),
    ]
    output = Path(words[words.index("--output") + 1])
    count, bad, left = collections.Counter(), [], []
    for turn in range(times):
        if name != "train":
            output.write_bytes(b"of an earlier run")
        elif Path("out/last.safetensors").exists():
            program = [*program[:2], "--resume", "out/last.safetensors"]
        gentle = signal.SIGTERM if name == "infer" and turn % 2 else signal.SIGINT
        number = gentle if turn % 3 == 2 else signal.SIGKILL
        process = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        time.sleep(rng.uniform(*wait))
        process.send_signal(number)
        try:
            said = process.communicate(timeout=LIMIT)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            process.kill()
            said = "hang"
        count[f"{number.name}: status {process.returncode}"] += 1
        fault = said if said == "hang" or "Traceback" in said else ""
        if number != signal.SIGKILL and ("KeyboardInterrupt" in said or process.returncode == -number):
            count["while importing"] += 1  # of Python: the program's own code has not begun
            fault = ""
        elif process.returncode not in (0, -9 if number == signal.SIGKILL else 128 + number):
            fault = fault or said
        if process.returncode and name != "train":
            left.append(output.read_bytes())
        count["kills"] += 1
        count["faults"] += bool(fault)
        if fault:
            bad.append(f"{number.name}: {process.returncode} {fault[-400:]}")
    if name == "infer":
        program += ["--max-frames", "5"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    # A kill in the last moment finds the new file in its place, whole.
    bad += ["overwritten" for data in left if data not in (b"of an earlier run", output.read_bytes())]
    litter = [*Path(".").rglob(".tmp-*"), *Path(".").rglob("*.unfinished*")]
    print(
        f"\n{name}: " + ", ".join(f"{what} {times}" for what, times in sorted(count.items())), *bad, sep="\n"
    )
    assert done.returncode == 0 and not litter, (done.stderr[-300:], litter)
    assert count["kills"] == times and not bad
