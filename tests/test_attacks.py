"""Hundreds of bad inputs for real programs, and kills: python -m pytest -m slow -s tests/test_attacks.py

Each program runs as a process of its own, forked from this one to save the imports. Printed are the counts.
"""

from __future__ import annotations

import collections
import importlib
import json
import os
import pickle
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs import PROGRAMS, ended, given, is_number, options_of
from safetensors.numpy import save, save_file
from scenes import background, draw_face

from files.pictures import write_image
from media.writers import VideoWriter

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
LIMIT = 60  # seconds that a bad input may take
MEMORY = 4 << 20  # KiB
LIGHT = [program for program in PROGRAMS if program not in ("tools.bench_train", "train")]


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


class Count(collections.Counter):
    """What came of the attempts; `bad` are those with a fault."""

    def __init__(self):
        super().__init__()
        self.bad: list[str] = []

    def attempt(self, program: str, *words: object) -> None:
        before = fingerprints()
        status, said, memory = forked(program, words)
        faults = {
            "stack trace": "Traceback" in said,
            "overwritten": any(fingerprints().get(path) != print_ for path, print_ in before.items()),
            "hang": status is None,
            "crash": status is not None and (status < 0 or status > 2),
            "no word": status in (1, 2) and not said.strip(),
            "run": Path("ran").exists(),
            "password told": "secret" in said,
            "memory": memory > MEMORY,
            "last line": "should not have happened" in said,
        }
        self["attempts"] += 1
        self[f"status {status}"] += 1
        for fault, found in faults.items():
            self[fault] += found
            if found:
                self.bad.append(f"{fault}: {program} {words!r}: {status} {said[-300:]}")
                print(self.bad[-1], flush=True)
        for name in ("out.png", "out.mp4", "out.safetensors", "out.onnx", "out.webp", "out.json", "ran"):
            Path(name).unlink(missing_ok=True)
        for name in ("out", "runs"):
            shutil.rmtree(name, ignore_errors=True)


def fingerprints() -> dict:
    """Return size, time and number of every file that was there before."""
    found = {}
    for path in Path(".").rglob("*"):
        if not path.is_symlink() and path.is_file() and "out" not in path.parts[0]:
            status = path.stat()
            found[path] = status.st_size, status.st_mtime_ns, status.st_ino
    return found


def forked(program: str, words: tuple) -> tuple:
    """Run a program in a fork of this process: (status, None if it hung; what it said; its memory, KiB)."""
    with open("said", "w+b") as said:
        process = os.fork()
        if process == 0:
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
                status = ended(importlib.import_module(program).main, *words)
                sys.stdout.flush()
                sys.stderr.flush()
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
                status = 99
            os._exit(status)
        deadline = time.monotonic() + LIMIT
        while True:
            ended_process, status, usage = os.wait4(process, os.WNOHANG)
            if ended_process:
                break
            if time.monotonic() > deadline:
                os.kill(process, signal.SIGKILL)
                os.wait4(process, 0)
                return None, "", 0
            time.sleep(0.01)
        said.seek(0)
        text = said.read().decode(errors="replace")
    os.unlink("said")
    return os.waitstatus_to_exitcode(status), text, usage.ru_maxrss


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
        video.write(background(64, 64))
    video.close()
    Path("bin").mkdir()
    Path("bin/gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    Path("bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def bad_weights(folder: Path) -> list[Path]:
    """Write weights of all kinds that are none."""
    folder.mkdir()
    one = {"a": np.zeros((2, 2), np.float32)}
    files = {
        "empty.safetensors": b"",
        "text.safetensors": b"hello" * 1000,
        "zeros.safetensors": bytes(10_000),
        "huge_header.safetensors": struct.pack("<Q", 2**62) + b"{}",
        "long_header.safetensors": struct.pack("<Q", 90_000_000) + b"{",
        "deep.safetensors": struct.pack("<Q", 200_000) + b"[" * 200_000,
        "offsets.safetensors": header({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [-16, 0]}}),
        "shape.safetensors": header(
            {"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]}}
        ),
        "dtype.safetensors": header({"a": {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}}),
        "bf16.safetensors": header({"a": {"dtype": "BF16", "shape": [8], "data_offsets": [0, 16]}}),
        "other.safetensors": save(one),
        "none.safetensors": save({}),
        "cut.safetensors": Path("weights.safetensors").read_bytes()[:1_000_000],
        "pickle.pth": pickle.dumps(Evil()),
        "pickle.safetensors": pickle.dumps(Evil()),
        "cut.pth": b"PK\x03\x04" + bytes(500),
        "picture.safetensors": Path("good.png").read_bytes(),
        os.fsdecode(b"o\xff.safetensors"): save(one),
    }
    for number, size in enumerate(("1000000", "-32", "nan", "[" * 9999, "9" * 9999)):
        files[f"size{number}.safetensors"] = save(one, {"size": size})
    states = (
        "[" * 99999,
        "{}",
        '{"options": 3}',
        '{"options": {"size": {}}}',
        '{"options": {"size": 1e400}}',
    )
    for number, state in enumerate(states):
        files[f"state{number}.safetensors"] = save(one, {"training_state": state})
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "nothing").mkdir()
    for name, meta in (
        ("dims", "shape { dim: 4294967296 dim: 4294967296 } data_type: kFloat"),
        ("type", "dim: 1"),
    ):
        (folder / name / "w").mkdir(parents=True)
        (folder / name / "w/meta").write_text(meta)
        (folder / name / "w/out").write_bytes(b"")
    (folder / "pipes/w").mkdir(parents=True)
    os.mkfifo(folder / "pipes/w/meta")
    (folder / "pipes/w/out").write_bytes(bytes(4))
    os.mkfifo(folder / "pipe.safetensors")
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    (folder / "gone.safetensors").symlink_to("nowhere")
    return [
        *sorted(folder.iterdir()),
        Path("/dev/null"),
        Path("/dev/zero"),
        Path("/dev/stdin"),
        Path("no/where"),
    ]


def header(entries: dict) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + bytes(16)


def bad_pictures(folder: Path) -> list[Path]:
    folder.mkdir()
    good = Path("good.png").read_bytes()
    rng = random.Random(0)
    files = {
        "empty.png": b"",
        "text.png": b"hello" * 100,
        "cut.png": good[: len(good) // 2],
        "header.png": good[:40],
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "dos.png": b"\xc5\xd0\xd3\xc6"
        + struct.pack("<7I", 32, 90, 0, 0, 0, 0, 0)
        + b"%!PS-Adobe-3.0 EPSF-3.0\n" * 4,
        "vector.png": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "paper.png": b"%PDF-1.4\n" + bytes(100),
        "bomb.png": good[:16] + struct.pack(">II", 60_000, 60_000) + good[24:],
        "nothing.png": good[:16] + struct.pack(">II", 0, 0) + good[24:],
        "negative.bmp": b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, -9, -9, 1, 24, 0, 0, 0, 0, 0, 0),
        "loop.tif": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00" + bytes(40),
        "large.ppm": b"P6 99999999 99999999 255\n",
    }
    for number in range(12):
        damaged = bytearray(good)
        for _ in range(20):
            damaged[rng.randrange(8, len(damaged))] = rng.randrange(256)
        files[f"damaged{number}.png"] = bytes(damaged)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    Image.new("RGB", (2000, 4), "red").save(folder / "wide.png")
    Image.new("RGB", (1, 1), "red").save(folder / "point.png")
    Image.new("L", (1, 3000), 9).save(folder / "high.jpg")
    exif = Image.Exif()
    exif[0x0112] = 99
    Image.new("RGB", (20, 10)).save(folder / "turned.jpg", exif=exif, icc_profile=b"no profile")
    Image.fromarray(np.full((9, 9), np.nan, np.float32)).save(folder / "nan.tif")
    shutil.copy("good.png", folder / os.fsdecode(b"o\xff.png"))
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(str(folder / "plug.png"))
    (folder / "folder.png").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    return sorted(folder.iterdir())


def bad_videos(folder: Path) -> list[Path]:
    folder.mkdir()
    good = Path("good.mp4").read_bytes()
    other = Path("good.mp4").absolute()
    files = {
        "empty.mp4": b"",
        "text.mp4": b"hello" * 1000,
        "cut.mp4": good[: len(good) // 2],
        "header.mp4": good[:60],
        "zeros.mp4": good[:200] + bytes(len(good) - 200),
        "list.ffconcat": f"ffconcat version 1.0\nfile '{other}'\n".encode(),
        "list.mp4": f"ffconcat version 1.0\nfile '{other}'\n".encode(),
        "list.m3u8": f"#EXTM3U\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n".encode(),
        "list.mkv": f"#EXTM3U\n#EXTINF:1,\nfile://{other}\n#EXT-X-ENDLIST\n".encode(),
        "words.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
        "picture.mp4": Path("good.png").read_bytes(),
        os.fsdecode(b"o\xff.mp4"): good,
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.mp4")
    addresses = [
        "rtsp://127.0.0.1:9/x",
        "http://u:secret@127.0.0.1:9/x",
        "file:///etc/passwd",
        "tcp://127.0.0.1:9",
    ]
    addresses += [
        "concat:good.mp4",
        "subfile,,start,0,end,0,,:good.mp4",
        "4294967296",
        "nope://x",
        "http://[",
    ]
    return [*sorted(folder.iterdir()), *map(str, addresses), Path("/dev/zero"), Path("/dev/tty")]


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
    count, bad = collections.Counter(), []
    for turn in range(times):
        if name != "train":
            output.write_bytes(b"of an earlier run")
        elif Path("out/last.safetensors").exists():
            program = [*program[:2], "--resume", "out/last.safetensors"]
        number = signal.SIGINT if turn % 3 == 2 else signal.SIGKILL
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
        if number == signal.SIGINT and "KeyboardInterrupt" in said:
            count["while importing"] += 1  # of Python: the program's own code has not begun
            fault = ""
        elif process.returncode not in ((0, 130) if number == signal.SIGINT else (0, -9)):
            fault = fault or said
        if process.returncode and name != "train" and output.read_bytes() != b"of an earlier run":
            fault = fault or "overwritten"
        count["kills"] += 1
        count["faults"] += bool(fault)
        if fault:
            bad.append(f"{number.name}: {process.returncode} {fault[-400:]}")
    if name == "infer":
        program += ["--max-frames", "5"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    litter = list(Path(".").rglob(".tmp-*"))
    print(
        f"\n{name}: " + ", ".join(f"{what} {times}" for what, times in sorted(count.items())), *bad, sep="\n"
    )
    assert done.returncode == 0 and not litter, (done.stderr[-300:], litter)
    assert count["kills"] == times and not bad
