"""Files with random bytes changed: python -m pytest -m slow tests/media/test_fuzz.py"""

from __future__ import annotations

import itertools
import random
import time
from pathlib import Path

import numpy as np
import pytest
from clips import make_clip
from PIL import Image
from scenes import background

from files.pictures import read_pixels
from media.sources import Animation
from media.videos import open_file
from utils import UserError

SEEDS = range(100)
CLIPS = {
    "a.mp4": {"bf": "2", "preset": "fast", "sound": "aac"},
    "a.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "a.mkv": {"bf": "2", "preset": "fast"},
    "a.ts": {"bf": "2", "preset": "fast", "sound": "aac"},
    "a.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "b.avi": {"codec": "mpeg4", "bf": "2"},
    "a.webm": {"codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8"},
    "a.wmv": {"codec": "wmv2"},
    "a.mpg": {"codec": "mpeg2video", "bf": "2"},
    "a.flv": {"codec": "flv"},
}
pytestmark = pytest.mark.slow


def damaged(data: bytes, seed: int) -> bytes:
    """Return the bytes with 1 to 300 of them changed, anywhere or at the beginning; of some only a part."""
    place, data = random.Random(seed), bytearray(data)
    for _ in range(place.choice((1, 10, 60, 300))):
        data[place.randrange(len(data) if seed % 3 else min(len(data), 4000))] = place.randrange(256)
    return bytes(data[: place.randrange(len(data) // 4, len(data))] if seed % 5 == 0 else data)


@pytest.mark.parametrize("name", CLIPS)
def test_videos(tmp_path, name):
    pictures = [np.roll(background(96, 128), 3 * number, axis=1) for number in range(20)]
    data = make_clip(tmp_path / name, pictures, g="10", **CLIPS[name]).read_bytes()
    read = 0
    for seed in SEEDS:
        (tmp_path / name).write_bytes(damaged(data, seed))
        start, frames = time.monotonic(), []
        try:
            source = open_file(tmp_path / name)
            frames += itertools.islice(iter(source.read, None), 1000)
        except UserError as error:
            assert str(tmp_path / name) in str(error)
        read += bool(frames)
        if frames:
            same = sum(np.array_equal(one.image, two.image) for one, two in itertools.pairwise(frames))
            assert source.damaged <= same and all(a.at < b.at for a, b in itertools.pairwise(frames))
            source.close()
            source.losses()
        assert time.monotonic() - start < 60
    assert read > 40


@pytest.mark.parametrize("suffix", [".gif", ".png", ".jpg", ".tif", ".webp", ".bmp", ".jp2"])
def test_pictures(tmp_path, suffix):
    path, whole = tmp_path / f"a{suffix}", 0
    picture = Image.fromarray(background(48, 64))
    more = (
        {"save_all": True, "append_images": [picture] * 2}
        if suffix in (".gif", ".png", ".tif", ".webp")
        else {}
    )
    picture.save(path, **more)
    data = path.read_bytes()
    for seed in SEEDS:
        path.write_bytes(damaged(data, seed))
        for read in (read_pixels, lambda path: [*iter(Animation(Path(path)).read, None)] if more else None):
            try:
                read(path)
                whole += 1
            except UserError as error:
                assert str(path) in str(error)
    assert whole > 0
