"""Videos and virtual cameras: python -m pytest tests/media/test_writers.py"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import types
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import add_picture, copy_clip, frames_of, length_of, make_clip, read_clip
from scenes import background

from media import writers
from media.colors import Colors
from media.encoder import letterbox
from media.table import FaceTable
from media.videos import open_file
from media.writers import FORMATS, AnimationWriter, VideoWriter
from utils import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("suffix", FORMATS)
def test_frames_rate_size_and_colours_come_back(tmp_path, suffix):
    path = tmp_path / "new folder" / f"out{suffix}"
    video = VideoWriter(path, 29.97)
    for level in range(30):
        add_picture(video, np.full((96, 128, 3), (level * 8, 100, 200), np.uint8))
        assert not path.exists()
    video.close()
    frames, times = read_clip(path)
    assert len(frames) == video.encoder.count == 30 and frames[0].shape == (96, 128, 3)
    np.testing.assert_allclose(times, np.arange(30) / 29.97, atol=2e-3)
    assert length_of(path) == pytest.approx(30 / 29.97, abs=0.002)
    for level, frame in enumerate(frames):
        assert np.abs(frame.mean(axis=(0, 1)) - (level * 8, 100, 200)).max() < 8
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_it_is_what_players_know(tmp_path, suffix):
    video = VideoWriter(tmp_path / f"out{suffix}", 25)
    for seed in range(5):
        add_picture(video, background(96, 128, seed))
    video.close()
    with av.open(str(video.result)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    if suffix != ".mkv":  # all in one part, and its index
        assert boxes_of(video.result.read_bytes())[-2:] == [b"mdat", b"moov"]


def boxes_of(data: bytes) -> list[bytes]:
    """Return the kinds of the outermost boxes of an .mp4 or .mov."""
    kinds, place = [], 0
    while place < len(data):
        kinds.append(data[place + 4 : place + 8])
        place += int.from_bytes(data[place : place + 4], "big")
    return kinds


@pytest.mark.parametrize("size", [(97, 131), (96, 131), (97, 128)])
def test_odd_sides_get_a_repeated_row_and_column(tmp_path, size):
    video = VideoWriter(tmp_path / "odd.mp4", 25)
    picture = background(*size)
    add_picture(video, picture)
    video.close()
    (frame,) = frames_of(tmp_path / "odd.mp4")
    height, width = size
    assert frame.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(frame[:height, :width].astype(int) - picture).mean() < 4
    if height % 2:
        assert np.abs(frame[-1].astype(int) - frame[-2]).mean() < 4


def test_nothing_written_leaves_nothing(tmp_path):
    VideoWriter(tmp_path / "none.mp4", 25).close()
    assert list(tmp_path.iterdir()) == []


def test_another_size_is_fitted_in(tmp_path):
    video = VideoWriter(tmp_path / "mixed.mp4", 25)
    add_picture(video, np.full((96, 128, 3), 200, np.uint8))
    add_picture(video, np.full((96, 256, 3), 200, np.uint8))
    video.close()
    frames = frames_of(tmp_path / "mixed.mp4")
    assert frames[1][:20].max() < 40 and frames[1][40:56].min() > 180


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_every_frame_keeps_its_time(tmp_path, suffix):
    times = [0, 0.04, 0.08, 1.5, 1.6, 4.0]
    source = make_clip(tmp_path / "in.mkv", [background(48, 64, n) for n in range(6)], times=times)
    _, found = read_clip(copy_clip(source, tmp_path / f"out{suffix}"))
    np.testing.assert_allclose(found, times, atol=2e-3)
    assert length_of(tmp_path / f"out{suffix}") == pytest.approx(4.04, abs=0.01)


@pytest.mark.parametrize("rate, count", [(Fraction(1, 3), 6), (300, 60), (Fraction(24000, 1001), 10)])
@pytest.mark.parametrize("stride", [1, 4])
def test_slow_and_fast_rates_keep_their_length(tmp_path, rate, count, stride):
    source = make_clip(tmp_path / "in.mp4", [background(48, 64, n) for n in range(count)], rate)
    out = copy_clip(source, tmp_path / "out.mp4", stride)
    assert length_of(out) == pytest.approx(count / float(rate), abs=1e-3)
    assert len(frames_of(out)) == -(-count // stride)


def test_a_late_start_is_left_out_and_frames_out_of_order_are_in_order(tmp_path):
    frames = [np.full((48, 64, 3), 6 * number, np.uint8) for number in range(40)]
    times = [5 + number / 25 for number in range(40)]
    source = make_clip(tmp_path / "in.mp4", frames, times=times, bf="3", preset="medium")
    found, shown = read_clip(copy_clip(source, tmp_path / "out.mp4"))
    np.testing.assert_allclose(shown, np.arange(40) / 25, atol=1e-3)
    np.testing.assert_allclose([frame.mean() for frame in found], 6 * np.arange(40), atol=5)


@pytest.mark.parametrize("matrix, span", [(1, 1), (1, 2), (2, 0), (6, 1), (5, 2), (9, 1)])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_colours_keep_their_matrix_and_range(tmp_path, matrix, span, suffix):
    red = np.full((96, 128, 3), (30, 40, 220), np.uint8)
    source = make_clip(tmp_path / "in.mp4", [red] * 5, colors=(matrix, span))
    out = copy_clip(source, tmp_path / f"out{suffix}")
    before, after = frames_of(source)[2], frames_of(out)[2]
    assert np.abs(after.astype(int) - before)[8:-8, 8:-8].max() <= 2
    colors = open_file(out).colors
    assert colors.matrix == matrix and (colors.range == 2) == (span == 2)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_recorded_screen_in_rgb_becomes_a_usual_video(tmp_path, suffix):
    red = np.full((96, 128, 3), (30, 40, 220), np.uint8)
    source = make_clip(tmp_path / "in.mp4", [red] * 5, codec="libx264rgb", pix_fmt="bgr24", colors=(0, 2))
    assert open_file(source).colors.matrix == 0
    out = copy_clip(source, tmp_path / f"out{suffix}")
    assert open_file(out).colors.matrix == 6
    assert np.abs(frames_of(out)[2].astype(int) - red)[8:-8, 8:-8].max() <= 3


def test_prores_has_the_range_that_its_readers_take_it_for(tmp_path):
    picture = np.full((48, 64, 4), (40, 200, 60, 255), np.uint8)
    video = VideoWriter(tmp_path / "out.mov", 25, Colors(5, 2), transparent=True)
    add_picture(video, picture)
    video.close()
    assert np.abs(frames_of(video.result)[0][24, 32] - np.array([40, 200, 60])).max() <= 2


def test_a_video_that_is_turned_into_hd_keeps_its_colours(tmp_path):
    """Where nothing is said, players go by the number of rows."""
    green = np.full((640, 960, 3), (40, 200, 60), np.uint8)
    colors = open_file(make_clip(tmp_path / "in.mp4", [green] * 2, colors=(2, 0))).colors
    video = VideoWriter(tmp_path / "out.mp4", 25, colors)
    add_picture(video, np.rot90(green).copy())
    video.close()
    assert open_file(video.result).colors.matrix == 6
    assert np.abs(frames_of(video.result)[0][480, 320] - np.array([40, 200, 60])).max() <= 3


def test_a_cameras_colours_are_marked_as_players_take_them(tmp_path):
    for height, matrix in ((480, 6), (720, 1)):
        video = VideoWriter(tmp_path / f"{height}.mp4", 25)
        add_picture(video, np.full((height, 64, 3), (30, 40, 220), np.uint8))
        video.close()
        assert open_file(video.result).colors.matrix == matrix
        assert np.abs(frames_of(video.result)[0][300, 30] - np.array([30, 40, 220])).max() <= 4


@pytest.mark.parametrize("suffix, codec", [(".webm", "libvpx-vp9"), (".mov", None)])
def test_transparency_comes_back(tmp_path, suffix, codec):
    picture = np.zeros((96, 128, 4), np.uint8)
    picture[24:72, 32:96] = (30, 40, 220, 255)
    picture[24:72, 32:40, 3] = 128
    video = VideoWriter(tmp_path / f"out{suffix}", 25, transparent=True)
    for _ in range(5):
        add_picture(video, picture)
    video.close()
    data = video.result.read_bytes()  # what players go by: AlphaMode of WebM, the kind of ProRes of QuickTime
    assert b"\x53\xc0\x81\x01" in data if suffix == ".webm" else b"ap4h" in data and b"apch" not in data
    with av.open(str(video.result)) as file:
        stream = file.streams.video[0]
        assert suffix == ".mov" or {k.lower(): v for k, v in stream.metadata.items()}["alpha_mode"] == "1"
        decoder = av.CodecContext.create(codec, "r") if codec else stream.codec_context
        frames = [frame for packet in file.demux(stream) for frame in decoder.decode(packet)]
    found = frames[2].to_ndarray(format="bgra")
    assert np.abs(found[48, 64].astype(int) - picture[48, 64]).max() < 8
    assert found[4:12, 4:12, 3].max() < 8 and 100 < found[48, 36, 3] < 156


def test_formats_that_cannot_hold_it_are_refused():
    for name in ("a.xyz", "a"):
        with pytest.raises(UserError, match=r"no video format; use one of .mp4"):
            VideoWriter(name, 25)
    for name in ("a.mp4", "a.mkv"):
        with pytest.raises(UserError, match=r"use \.webm, \.mov, or a folder"):
            VideoWriter(name, 25, transparent=True)


def test_quality_and_preset_change_the_size(tmp_path):
    sizes = []
    for options in ({}, {"crf": 35}, {"preset": "ultrafast"}):
        video = VideoWriter(tmp_path / "a.mp4", 25, **options)
        for number in range(20):
            add_picture(video, np.roll(background(240, 320), 4 * number, axis=1))
        video.close()
        sizes.append(video.result.stat().st_size)
    assert sizes[1] < 0.5 * sizes[0] and sizes[2] != sizes[0]


def test_a_relative_name_with_a_colon_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    video = VideoWriter("2024-05-01T12:30.mp4", 25)
    add_picture(video, background(48, 64))
    video.close()
    assert len(frames_of(tmp_path / "2024-05-01T12:30.mp4")) == 1


def test_a_link_is_written_through_and_a_long_name_works(tmp_path):
    name = "n" * 246 + ".mp4"
    os.symlink(name, tmp_path / "link.mp4")
    video = VideoWriter(tmp_path / "link.mp4", 25)
    add_picture(video, background(48, 64))
    video.close()
    assert (tmp_path / "link.mp4").is_symlink() and len(frames_of(tmp_path / name)) == 1
    assert sorted(os.listdir(tmp_path)) == ["link.mp4", name]


def write_clip(path: Path, count: int = 3, finished: bool = True) -> VideoWriter:
    video = VideoWriter(path, 25)
    for _ in range(count):
        add_picture(video, background(48, 64))
    video.close(finished)
    return video


def test_what_was_cut_off_stays_unfinished(tmp_path):
    path, unfinished = tmp_path / "out.mp4", tmp_path / "out.unfinished.mp4"
    video = write_clip(path, 3, finished=False)
    assert os.listdir(tmp_path) == [unfinished.name] and len(frames_of(unfinished)) == 3
    assert video.outcome() == f"wrote {unfinished}, which was cut off"
    video = write_clip(path, 5)
    assert os.listdir(tmp_path) == [path.name] and video.outcome() == f"wrote {path}"
    write_clip(path, 2, finished=False)
    assert len(frames_of(path)) == 5 and len(frames_of(unfinished)) == 2


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_what_has_the_unfinished_files_name_is_left_alone(tmp_path, kind):
    mine, taken = tmp_path / "mine.txt", tmp_path / "out.unfinished.mp4"
    mine.write_text("mine")
    make = {"pipe": os.mkfifo, "folder": os.mkdir}
    make.get(kind, lambda path: os.symlink("mine.txt" if kind == "link" else "none.txt", path))(taken)
    with pytest.raises(OSError, match=r"out\.unfinished\.mp4 is in the way, and no file of ours: rename it"):
        write_clip(tmp_path / "out.mp4")
    assert mine.read_text() == "mine" and sorted(os.listdir(tmp_path)) == ["mine.txt", taken.name]
    assert taken.is_symlink() == ("link" in kind)


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".csv"])
def test_a_write_protected_file_of_the_unfinished_files_name_is_kept(tmp_path, monkeypatch, suffix):
    kept = tmp_path / f"out.unfinished{suffix}"
    kept.write_text("kept")
    access = os.access  # as for root nothing is protected
    monkeypatch.setattr(os, "access", lambda path, how: how != os.W_OK and access(path, how))
    with pytest.raises(OSError, match=rf"cannot write .*out.unfinished\{suffix} is .* write-protected"):
        if suffix == ".csv":
            FaceTable(tmp_path / "out.csv")
        elif suffix == ".gif":
            animation = AnimationWriter(tmp_path / "out.gif")
            animation.write(background(48, 64), 0, 1)
            animation.close(finished=False)
        else:
            write_clip(tmp_path / "out.mp4")
    assert kept.read_text() == "kept" and os.listdir(tmp_path) == [kept.name]


def test_another_name_of_the_unfinished_file_keeps_what_it_has(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    os.link(tmp_path / "mine.txt", tmp_path / "out.unfinished.mp4")
    write_clip(tmp_path / "out.mp4")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_what_a_killed_program_left_is_removed(tmp_path):
    (tmp_path / ".tmp-12-0123abcd.png").write_text("litter")
    write_clip(tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_two_programs_do_not_write_the_same_video(tmp_path):
    first = VideoWriter(tmp_path / "out.mp4", 25)
    add_picture(first, background(48, 64))
    with pytest.raises(OSError, match="another program is writing it"):
        write_clip(tmp_path / "out.mp4")
    first.close()
    assert len(frames_of(tmp_path / "out.mp4")) == 1


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for name in (tmp_path / "file" / "out.mp4", Path("/proc/clip.mp4")):
        video = VideoWriter(name, 25)
        with pytest.raises(OSError, match=f"^cannot write {name}"):
            add_picture(video, background(48, 64))
        video.close()


WRITING = """
import resource, sys
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
from clips import add_picture
from scenes import background
from media.writers import VideoWriter
limit = {limit}
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # as a full disk: no byte more is taken
video = VideoWriter({path!r}, 25)
try:
    try:
        for seed in range(100000):
            add_picture(video, background(240, 320, seed))
            print(video.encoder.count, flush=True)
    finally:
        video.close()
except OSError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_disk_that_takes_no_more_is_an_error_and_what_was_written_plays(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    script = WRITING.format(root=str(ROOT), path=str(path), limit=600_000)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and f"cannot write {path}" in done.stderr and "Traceback" not in done.stderr
    (left,) = tmp_path.iterdir()
    with contextlib.suppress(UserError):  # it is cut off
        source, read = open_file(left), 0
        while source.read() is not None:
            read += 1
    assert read > 5


@pytest.mark.parametrize("limit", [0, 100])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_disk_that_is_full_from_the_beginning_leaves_nothing(tmp_path, suffix, limit):
    path = tmp_path / f"out{suffix}"
    script = WRITING.format(root=str(ROOT), path=str(path), limit=limit or 1)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and f"cannot write {path}: File too large" in done.stderr
    assert "Traceback" not in done.stderr and os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_a_killed_program_leaves_all_but_the_last_second(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING.format(root=str(ROOT), path=str(path), limit=0)],
        stdout=subprocess.PIPE,
        text=True,
    )
    written = next(int(line) for line in process.stdout if int(line) >= 80)
    process.send_signal(signal.SIGKILL)
    process.wait()
    unfinished = tmp_path / f"out.unfinished{suffix}"
    assert os.listdir(tmp_path) == [unfinished.name] and len(frames_of(unfinished)) >= written - 30
    write_clip(path)  # the next one does not leave it lying about
    assert os.listdir(tmp_path) == [path.name]


def test_little_room_on_the_disk_ends_the_writing(tmp_path, monkeypatch):
    video = VideoWriter(tmp_path / "out.mp4", 25)
    add_picture(video, background(48, 64))
    monkeypatch.setattr(writers.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1000))
    with pytest.raises(OSError, match="the disk is full"):
        for _ in range(100):
            add_picture(video, background(48, 64))
    video.close()
    assert video.outcome().endswith("out.unfinished.mp4, which was cut off")
    assert len(frames_of(tmp_path / "out.unfinished.mp4")) == 30  # what there was room for is kept


def test_letterbox_keeps_the_aspect_ratio():
    fitted = letterbox(np.full((100, 100, 3), 255, np.uint8), 50, 200)
    assert fitted.shape == (50, 200, 3)
    assert (fitted[:, 75:125] == 255).all() and (fitted[:, :75] == 0).all() and (fitted[:, 125:] == 0).all()
