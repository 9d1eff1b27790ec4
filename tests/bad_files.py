"""Files of all kinds that are none, for tests/test_attacks.py: weights, pictures and videos."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


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


def fuzzed(good: bytes, kind: str, count: int) -> Iterator[bytes]:
    """Yield damaged copies of a file, the same ones each time: bytes changed anywhere or in the header, a
    stretch zeroed, put in or taken out, the end cut off.
    """
    for seed in range(count):
        rng = random.Random(f"{kind} {seed}")
        data = bytearray(good)
        place = rng.randrange(len(data))
        length = min(rng.choice((1, 4, 60, 1000)), len(data) - place)
        if seed % 6 == 0:
            for _ in range(rng.choice((1, 5, 60))):
                data[rng.randrange(len(data))] = rng.randrange(256)
        elif seed % 6 == 1:
            for _ in range(rng.choice((1, 2, 8))):
                data[rng.randrange(min(len(data), 400))] = rng.choice((0, 1, 127, 128, 255))
        elif seed % 6 == 2:
            data[place : place + length] = bytes(length)
        elif seed % 6 == 3:
            data[place:place] = rng.randbytes(length)
        elif seed % 6 == 4:
            del data[place : place + length]
        else:
            del data[place:]
        yield bytes(data)


NAMES = (".", "..", "/", "~", "*", "[", "-", "--", "-1", "null", "data", "good.png", "good.mp4", "%s")
VALUES = (0, 1, -1, 7, 0.5, 2**31, 2**64, "nan", "1e9", "")


def random_word(rng: random.Random) -> str:
    """Return what somebody might type, or paste, for an option."""
    numbers = [str(rng.choice(VALUES)) for _ in range(rng.randint(1, 5))]
    letters = [chr(rng.choice((rng.randrange(1, 128), 0xE9, 0x4E2D, 0x1F600))) for _ in range(20)]
    words = (
        ",".join(numbers),
        "/".join(numbers[:2]),
        f"{numbers[0]}%",
        "".join(letters),
        os.fsdecode(rng.randbytes(9).replace(b"\0", b"x")),
        "x" * rng.choice((255, 256, 5000)),
        rng.choice(NAMES),
    )
    return rng.choice(words)
