"""Media that cameras, editors and converters write, and programs stumble over: for tests/test_attacks.py."""

from __future__ import annotations

import contextlib
import http.server
import random
import struct
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from clips import make_clip
from PIL import Image
from scenes import background, draw_face

SOUNDS = ("pcm_s16le", "pcm_u8", "adpcm_ms", "adpcm_ima_wav", "wmav2", "mp3", "aac")
LAYOUTS = ("mono", "stereo", "5.1")


def moving(count: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """Return frames with a face that moves, HWC uint8 BGR."""
    frames = [background(height, width, number) for number in range(count)]
    for number, frame in enumerate(frames):
        draw_face(frame, (width // 3 + 2 * number, height // 2), height // 4)
    return frames


def with_sound(path: Path, codec: str, layout: str, rate: int) -> Path | None:
    """Write a video with noise as its sound; None where FFmpeg has no such sound."""
    try:
        with av.open(str(path), "w") as file:
            video = file.add_stream("mpeg4", rate=25)
            video.height, video.width, video.pix_fmt = 64, 96, "yuv420p"
            sound = file.add_stream(codec, rate=rate, layout=layout)
            file.start_encoding()
            for picture in moving(10):
                file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            file.mux(video.encode())
            size = sound.codec_context.frame_size or 1024
            form = sound.codec_context.format.name
            channels = len(sound.codec_context.layout.channels)
            for start in range(0, int(rate * 0.4), size):
                noise = np.random.default_rng(start).normal(0, 2000, (channels, size)).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(noise, format="s16p", layout=layout)
                frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
                for part in av.AudioResampler(form, layout, rate).resample(frame):
                    file.mux(sound.encode(part))
            file.mux(sound.encode())
    except (av.error.FFmpegError, ValueError):
        return None
    return path


def odd_videos(folder: Path) -> list[Path]:
    folder.mkdir()
    make_clip(folder / "wide.mkv", moving(4), aspect=Fraction(65535, 1))
    make_clip(folder / "high.mkv", moving(4), aspect=Fraction(1, 65535))
    make_clip(folder / "gap.mkv", moving(4), times=[0, 0.04, 1e9, 1e9 + 0.04])
    make_clip(folder / "slow.mkv", moving(3), rate=Fraction(1, 900))
    make_clip(folder / "fast.avi", moving(4), codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray((folder / "fast.avi").read_bytes())
    place = data.index(b"strh") + 28  # of the rate's two parts
    data[place : place + 8] = struct.pack("<II", 1, 4_000_000_000)
    (folder / "fast.avi").write_bytes(data)
    make_clip(folder / "cut.avi", moving(40), codec="mjpeg", pix_fmt="yuvj420p")
    (folder / "cut.avi").write_bytes((folder / "cut.avi").read_bytes()[:-3000])
    good = make_clip(folder / "good.mp4", moving(50, 96, 128)).read_bytes()
    for seed in range(8):
        damaged, rng = bytearray(good), random.Random(seed)
        for _ in range(60):
            damaged[rng.randrange(len(good) // 4, len(good) * 3 // 4)] = rng.randrange(256)
        (folder / f"damaged{seed}.mp4").write_bytes(damaged)
    for pix_fmt in ("yuv444p", "yuv422p", "yuv420p10le", "gray"):
        make_clip(folder / f"{pix_fmt}.mkv", moving(4), pix_fmt=pix_fmt)
    for name, pix_fmt in (("png.mov", "rgb24"), ("qtrle.mov", "argb"), ("huffyuv.avi", "yuv422p")):
        make_clip(folder / name, moving(3), codec=name.partition(".")[0], pix_fmt=pix_fmt)
    frames = [Image.fromarray(np.full((1080, 1920, 3), shade, np.uint8)) for shade in range(0, 200, 4)]
    frames[0].save(folder / "large.gif", save_all=True, append_images=frames[1:], duration=40)
    return sorted(folder.iterdir())


def odd_pictures(folder: Path) -> list[Path]:
    folder.mkdir()
    face = moving(1)[0][..., ::-1].copy()
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    for name, levels in (
        ("float.tif", grey.astype(np.float32) / 255),
        ("large_float.tif", grey.astype(np.float32) * 1e30),
        ("bits32.tif", grey.astype(np.int32) * 9_000_000),
        ("bits16.tif", grey.astype(np.uint16) * 257),
        ("bits16.png", grey.astype(np.uint16) * 257),
    ):
        Image.fromarray(levels).save(folder / name)
    cv2.imwrite(str(folder / "rgb_float.tif"), face.astype(np.float32) / 255)
    picture = Image.fromarray(face)
    for name in ("1.png", "L.png", "P.gif", "LA.png", "CMYK.tif", "YCbCr.tif", "CMYK.jpg", "LAB.tif"):
        mode = name.partition(".")[0]
        (Image.new(mode, (9, 9)) if mode == "LAB" else picture.convert(mode)).save(folder / name)
    exif = Image.Exif()
    for orientation in range(0, 10):
        exif[0x0112] = orientation
        picture.save(folder / f"turned{orientation}.jpg", exif=exif)
    picture.save(folder / "profile.png", icc_profile=b"\0" * 4000)
    picture.save(folder / "thin.png")
    Image.new("RGB", (20_000, 1)).save(folder / "line.png")
    return sorted(folder.iterdir())


class OddServer(http.server.BaseHTTPRequestHandler):
    """Answers as no server should, each path in its own way."""

    def do_GET(self) -> None:
        with contextlib.suppress(ConnectionError):  # whoever asks may go at any time
            self.answer(self.path.strip("/").partition(".")[0])

    def answer(self, name: str) -> None:
        places = {"moved": "http://[::bad/", "round": self.path, "file": "file:///etc/passwd"}
        self.send_response(302 if name in places else {"empty": 204, "gone": 404}.get(name, 200))
        if name in places:
            self.send_header("Location", places[name])
        lengths = {"short": "100000", "slow": "100000", "negative": "-5"}
        if name in lengths:
            self.send_header("Content-Length", lengths[name])
        self.end_headers()
        for _ in range(100 if name == "slow" else 0):
            self.wfile.write(b"x")
            time.sleep(3)
        self.wfile.write(b"<html>" * (name in ("short", "page", "negative")))

    def log_message(self, *args) -> None:
        """Quiet."""


ODD_PATHS = ("empty", "moved", "round", "file", "gone", "short", "slow", "negative", "page", "nothing")
