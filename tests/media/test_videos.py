"""Video files as people have them: python -m pytest tests/media/test_videos.py"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import random
import re
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.stream import Disposition
from clips import add_tone, copied_stream, make_clip
from PIL import Image, ImageCms
from scenes import background

from files.pictures import read_image
from media.videos import VideoFile, open_file, sound_of, video_of
from utils import UserError

ROOT = Path(__file__).resolve().parents[2]


def grey(count: int, step: int = 4) -> list:
    return [np.full((48, 64, 3), step * number, np.uint8) for number in range(count)]


def read_all(source: VideoFile) -> list:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    return frames


def levels(frames: list) -> np.ndarray:
    return np.array([frame.image.mean() for frame in frames])


@pytest.mark.parametrize(
    "codec, name", [("libx264", "a.mp4"), ("libx264", "a.mkv"), ("libvpx-vp9", "a.webm")]
)
def test_every_frame_in_order_at_its_time(tmp_path, codec, name):
    options = {"bf": "3"} if codec == "libx264" else {}  # with frames that are not stored in their order
    source = open_file(make_clip(tmp_path / name, grey(40), 12.5, codec=codec, **options))
    frames = read_all(source)
    assert not source.live and source.rate == 12.5 and source.expected == 40 and source.damaged == 0
    assert [frame.index for frame in frames] == list(range(40))
    np.testing.assert_allclose(levels(frames), 4 * np.arange(40), atol=5)
    np.testing.assert_allclose([frame.at for frame in frames], np.arange(40) / 12.5, atol=1e-3)
    np.testing.assert_allclose([frame.until for frame in frames], np.arange(1, 41) / 12.5, atol=1e-3)


def test_stride_gives_every_seventh_frame_for_the_time_of_all(tmp_path):
    source = open_file(make_clip(tmp_path / "a.mp4", grey(60)), stride=7)
    frames = read_all(source)
    assert [frame.index for frame in frames] == list(range(0, 60, 7)) and source.expected == 9
    assert source.rate == pytest.approx(25 / 7) and frames[-1].until == pytest.approx(2.4)
    np.testing.assert_allclose(levels(frames), 4 * np.arange(0, 60, 7), atol=5)
    assert all(one.until == pytest.approx(two.at) for one, two in itertools.pairwise(frames))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_an_avi_whose_stamps_are_out_of_order(tmp_path, codec):
    """An AVI keeps no times for frames that refer to later ones: they are shown one after the other."""
    path = make_clip(tmp_path / "a.avi", moving(40), codec=codec, bf="3", preset="medium", qscale="2")
    frames = read_all(open_file(path))
    assert len(frames) == 40
    np.testing.assert_allclose(np.diff([frame.at for frame in frames]), 1 / 25, atol=1e-3)
    assert all(np.abs(f.image.astype(int) - m).mean() < 8 for f, m in zip(frames, moving(40)))


def test_two_recordings_in_one_file_are_shown_one_after_the_other(tmp_path):
    parts = [make_clip(tmp_path / f"{name}.ts", moving(30)).read_bytes() for name in "ab"]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    source = open_file(tmp_path / "both.ts")
    times = [frame.at for frame in read_all(source)]
    assert len(times) == 60
    np.testing.assert_allclose(times, np.arange(60) / 25, atol=1e-3)
    assert source.losses() == ["jumps of its clock that are left out: 1"]


def test_a_pause_of_thirty_years_is_none(tmp_path):
    times = [0, 0.04, 0.08, 946_080_000.0, 946_080_000.04]
    source = open_file(make_clip(tmp_path / "a.mkv", grey(5), times=times))
    assert [frame.at for frame in read_all(source)] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16], abs=1e-3)
    assert len(source.losses()) == 1


def test_four_thousand_million_frames_a_second(tmp_path):
    path = make_clip(tmp_path / "a.avi", grey(5), codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    place = data.index(b"strh") + 28
    data[place : place + 8] = struct.pack("<II", 1, 4_000_000_000)
    path.write_bytes(data)
    source = open_file(path)
    assert source.rate == 30 and len(read_all(source)) == 5


@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize("span", [1, 2])
def test_colours_are_read_by_their_matrix_and_range(tmp_path, matrix, span):
    red = np.full((48, 64, 3), (30, 40, 220), np.uint8)
    source = open_file(make_clip(tmp_path / "a.mp4", [red] * 3, colors=(matrix, span)))
    image = source.read().image
    assert np.abs(image.mean(axis=(0, 1)) - (30, 40, 220)).max() <= 4
    assert source.colors[:2] == (matrix, span)


@pytest.mark.parametrize("primaries, transfer, matrix", [(0, 0, 1), (99, 3, 1), (1, 1, 8)])
def test_colours_that_mean_nothing_are_passed_over_and_others_refused(tmp_path, primaries, transfer, matrix):
    red = np.full((48, 64, 3), (30, 40, 220), np.uint8)
    path = make_clip(tmp_path / "a.mov", [red] * 3, codec="prores_ks", pix_fmt="yuv422p10le", colors=(1, 1))
    data = bytearray(path.read_bytes())
    for header in re.finditer(b"icpf", bytes(data)):
        data[header.start() + 18 : header.start() + 21] = primaries, transfer, matrix
    path.write_bytes(data)
    source = open_file(path)
    if matrix == 8:  # YCgCo, which is no matrix of this kind
        with pytest.raises(UserError, match=r"its colours \(yuv422p10le, matrix 8"):
            source.read()
    else:
        assert np.abs(source.read().image.mean(axis=(0, 1)) - (30, 40, 220)).max() <= 4
        assert source.colors[2:] == (2, 2)


# The first numbers of a display matrix, and what they make of a picture.
TURNS = {
    "90": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "180": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "270": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda image: image[::-1]),
    "transposed": ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    "not at all": ((1, 0, 0, 1), lambda image: image),
}


@pytest.mark.parametrize("turn", TURNS)
def test_a_telephones_video_is_turned_upright(turn, tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:24, :32], frame[:24, 32:] = 255, 128  # the corners tell how it was turned
    path = make_clip(tmp_path / "a.mp4", [frame] * 3)
    (a, b, c, d), turned = TURNS[turn]
    matrix = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
    path.write_bytes(data)
    image, wanted = open_file(path).read().image, turned(frame)
    assert image.shape == wanted.shape and np.abs(image.astype(int) - wanted).mean() < 8


def pictures_as_video(path: Path, kind: str, *pictures: Image.Image, **options) -> Path:
    """Write picture files as they are as the frames of a video: "png" or "mjpeg"."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(kind, rate=25)
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "rgb24" if kind == "png" else "yuvj420p"
        for number, picture in enumerate(pictures):
            data = io.BytesIO()
            picture.save(data, "PNG" if kind == "png" else "JPEG", quality=95, **options)
            packet = av.Packet(data.getvalue())
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), True
            packet.pts = packet.dts = packet.duration = number
            file.mux(packet)
    return path


def test_frames_with_a_colour_profile_are_read(tmp_path):
    """In a process of its own, as PyAV may end all of it."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = pictures_as_video(
        tmp_path / "a.mov", "png", *[Image.new("RGB", (64, 48))] * 3, icc_profile=profile
    )
    code = f"from media.videos import *; print(len([*iter(open_file(Path({str(path)!r})).read, None)]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_in_a_pictures_exif_turns_its_frame(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(background(48, 64)[..., ::-1])
    path = pictures_as_video(tmp_path / "a.mov", "mjpeg", picture, exif=exif)
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    image, wanted = open_file(path).read().image, read_image(tmp_path / "a.jpg")[..., ::-1]
    assert image.shape == wanted.shape and np.abs(image.astype(int) - wanted).mean() < 4


def test_a_vp8_frame_that_is_never_shown_is_no_damage(tmp_path):
    """As two passes write them: only later frames refer to it."""
    options = {"deadline": "good", "auto-alt-ref": "0"}
    whole = make_clip(
        tmp_path / "a.webm", [background(48, 64, n) for n in range(12)], codec="libvpx", **options
    )
    with av.open(str(whole)) as source, av.open(str(tmp_path / "b.webm"), "w") as file:
        stream = file.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            data = bytearray(bytes(packet))
            if number == 5:
                data[0] &= ~0x10  # the bit that says: show it
                unseen = av.Packet(bytes(data))
                unseen.pts = unseen.dts = packet.pts - 20
                unseen.time_base, unseen.stream = packet.time_base, stream
                file.mux(unseen)
            packet.stream = stream
            file.mux(packet)
    video = open_file(tmp_path / "b.webm")
    assert len(list(iter(video.read, None))) == 12 and video.losses() == []


def test_pixels_that_would_become_too_wide_are_refused(tmp_path):
    path = make_clip(tmp_path / "a.mp4", grey(2), aspect=Fraction(4, 3))
    data = path.read_bytes()
    assert data.count(b"pasp") == 1
    path.write_bytes(data.replace(b"pasp" + struct.pack(">II", 4, 3), b"pasp" + struct.pack(">II", 65535, 1)))
    with pytest.raises(UserError, match=r"a\.mp4: with square pixels it has 4194240x48"):
        open_file(path).read()


def test_pixels_become_square(tmp_path):
    picture = background(576, 720)
    path = make_clip(tmp_path / "a.mkv", [picture] * 2, codec="mpeg2video", aspect=Fraction(64, 45))
    assert open_file(path).read().image.shape == (576, 1024, 3)


def with_more_tracks(path: Path, *others: Path) -> Path:
    """Put the pictures and sounds of several files into one, each in a language of its own."""
    out = path.with_name("together" + path.suffix)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(av.open(str(out), "w"))
        packets = []
        for place, source in enumerate((path, *others)):
            opened = stack.enter_context(av.open(str(source)))
            for track in opened.streams:
                stream = copied_stream(file, track)
                stream.metadata["language"] = ("eng", "deu", "fra")[place]
                packets += [
                    (p.dts * p.time_base, p, stream) for p in opened.demux(track) if p.dts is not None
                ]
                opened.seek(0)
        for _, packet, stream in sorted(packets, key=lambda each: each[0]):
            packet.stream = stream
            file.mux(packet)
    return out


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_longer_track_that_is_not_read_is_no_cut(tmp_path, suffix):
    path = make_clip(tmp_path / f"a{suffix}", moving(50), sound="aac", seconds=2.0)
    with av.open(str(tmp_path / f"b{suffix}"), "w") as file:
        add_tone(file, file.add_stream("aac", rate=48_000, layout="mono"), 3.0)
    source = open_file(with_more_tracks(path, tmp_path / f"b{suffix}"))
    assert len(read_all(source)) == 50
    assert source.remarks == ["left out: audio deu"]


def test_high_definition_without_a_word_on_its_colours_is_as_players_take_it(tmp_path):
    """Y, Cb and Cr of 120, 110 and 155 are RGB (170, 110, 83) by BT.709, and (164, 106, 85) by BT.601."""
    for height, wanted in ((720, (83, 110, 170)), (480, (85, 106, 164))):
        with av.open(str(tmp_path / f"{height}.mp4"), "w") as file:
            stream = file.add_stream("libx264", rate=25, options={"crf": "4"})
            stream.width, stream.height, stream.pix_fmt = 320, height, "yuv420p"
            frame = av.VideoFrame(320, height, "yuv420p")
            for plane, level in zip(frame.planes, (120, 110, 155)):
                plane.update(bytes([level]) * plane.buffer_size)
            for packet in (*stream.encode(frame), *stream.encode()):
                file.mux(packet)
        image = open_file(tmp_path / f"{height}.mp4").read().image
        assert np.abs(image[100, 100] - np.array(wanted)).max() <= 2


def test_frames_before_the_beginning_of_a_trimmed_file_are_no_damage(tmp_path):
    path = make_clip(tmp_path / "in.mp4", moving(40), g="40", bf="0")
    with av.open(str(path)) as source, av.open(str(tmp_path / "out.mp4"), "w") as file:
        stream = copied_stream(file, source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                shift = round(0.4 / packet.time_base)  # ten frames, by an edit list
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                file.mux(packet)
    trimmed = open_file(tmp_path / "out.mp4")
    frames = read_all(trimmed)
    assert (len(frames), trimmed.damaged) == (30, 0)
    assert np.abs(frames[0].image.astype(int) - moving(11)[10]).mean() < 8


def moving(count: int) -> list:
    return [np.roll(background(96, 128), 3 * number, axis=1) for number in range(count)]


def test_a_damaged_stretch_repeats_the_last_good_frame(tmp_path):
    path = make_clip(tmp_path / "a.mp4", moving(60), g="15", crf="4")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + len(data) // 3
    data[start : start + len(data) // 12] = bytes(len(data) // 12)
    path.write_bytes(data)
    source = open_file(path)
    frames = read_all(source)
    assert len(frames) == 60 and 3 <= source.damaged <= 12
    repeated = sum(np.array_equal(one.image, two.image) for one, two in itertools.pairwise(frames))
    assert repeated >= source.damaged - 1
    np.testing.assert_allclose([frame.at for frame in frames], np.arange(60) / 25, atol=1e-3)
    assert np.abs(frames[-1].image.astype(int) - moving(60)[-1]).mean() < 6  # the rest is as it was


@pytest.mark.parametrize("seed", range(6))
def test_what_is_said_of_damage_is_what_was_done(tmp_path, seed):
    path = make_clip(tmp_path / "a.mp4", moving(50), g="25", crf="20", bf="2", preset="fast")
    data, place = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(60):
        data[place.randrange(3000, len(data) - 3000)] = place.randrange(256)
    path.write_bytes(data)
    source = open_file(path)
    images = [frame.image for frame in read_all(source)]
    repeated = sum(np.array_equal(one, two) for one, two in itertools.pairwise(images))
    assert len(images) == 50 and 0 < source.damaged == repeated
    assert source.losses()[0].endswith(f"stands: {repeated}")


@pytest.mark.parametrize("empty, wanted", [((7,), 6), ((0, 1, 2), 3), ((38, 39), 37)])
def test_packets_that_the_decoder_drops_in_silence(tmp_path, empty, wanted):
    """An access unit delimiter alone is no picture and no error."""
    path = make_clip(tmp_path / "in.mp4", moving(40), g="3", keyint_min="1", bf="0")
    with av.open(str(path)) as source, av.open(str(tmp_path / "out.mp4"), "w") as file:
        stream = copied_stream(file, source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is None:
                continue
            if number in empty:
                bare = av.Packet(b"\0\0\0\2\x09\xf0")
                bare.pts, bare.dts, bare.time_base = packet.pts, packet.dts, packet.time_base
                bare.duration, packet = packet.duration, bare
            packet.stream = stream
            file.mux(packet)
    source = open_file(tmp_path / "out.mp4")
    frames = read_all(source)
    assert len(frames) == 40 and source.damaged == len(empty)
    np.testing.assert_allclose([frame.at for frame in frames], np.arange(40) / 25, atol=1e-3)
    for number in empty:
        assert np.abs(frames[number].image.astype(int) - moving(40)[wanted]).mean() < 8


def test_a_truncated_file_is_told_after_its_last_frame(tmp_path):
    path = make_clip(tmp_path / "cut.mp4", moving(60), crf="4", movflags="faststart")
    make_clip(tmp_path / "whole.mkv", moving(60), crf="4")
    make_clip(tmp_path / "whole.avi", moving(60), codec="mjpeg", pix_fmt="yuvj420p", qscale="3")
    for cut in (tmp_path / "cut.mkv", tmp_path / "cut.avi"):
        whole = cut.with_stem("whole")
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        source, count = open_file(cut), 0
        with pytest.raises(UserError, match=r"cut\.\w+ is cut off, .* it ends after \d+ of 60 frames"):
            while source.read() is not None:
                count += 1
        assert 20 < count < 40
        source.close()
    path.write_bytes(path.read_bytes()[:-600])  # the index was at its end
    with pytest.raises(UserError, match="cut off"):
        open_file(path)


def test_what_is_no_video_is_named(tmp_path):
    contents = {"missing.mp4": None, "empty.mp4": b"", "text.mp4": b"this is no video" * 100}
    for name, content in contents.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            open_file(tmp_path / name)
    make_sound = make_clip(tmp_path / "both.mp4", grey(3), sound="aac")
    assert open_file(make_sound).sound is not None
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(UserError, match="it is a pipe"):
        open_file(tmp_path / "pipe.mp4")


@pytest.mark.parametrize("name", ["a.ffconcat", "a.m3u8", "a.mp4"])
def test_lists_of_other_files_are_not_followed(tmp_path, name):
    make_clip(tmp_path / "private.mp4", grey(3))
    lists = {
        "a.ffconcat": "ffconcat version 1.0\nfile private.mp4\n",
        "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nprivate.mp4\n#EXT-X-ENDLIST\n",
    }
    for before in ("", "\n"):
        (tmp_path / name).write_text(before + lists.get(name, lists["a.ffconcat"]))
        with pytest.raises(UserError, match="it is no video, a list of other files"):
            open_file(tmp_path / name)


def test_metadata_in_another_encoding(tmp_path):
    path = make_clip(tmp_path / "a.mp4", grey(3))
    path.write_bytes(path.read_bytes().replace(b"VideoHandler", "Vid\xe9oHandler".encode("latin-1")))
    assert len(read_all(open_file(path))) == 3


def test_a_codec_that_cannot_be_read_is_told(tmp_path):
    path = make_clip(tmp_path / "a.mp4", grey(3))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"xyz1"))
    with pytest.raises(UserError, match=r"a\.mp4: its codec cannot be read"):
        open_file(path)


def test_the_tracks_are_taken_that_players_take():
    cover, plain, default = (
        SimpleNamespace(disposition=each, codec_context=True)
        for each in (Disposition.attached_pic, Disposition(0), Disposition.default)
    )
    assert video_of(SimpleNamespace(video=[cover, plain, default]), "a.mp4") is plain
    with pytest.raises(UserError, match="there is no video in it"):
        video_of(SimpleNamespace(video=[cover]), "a.mp4")
    assert sound_of(SimpleNamespace(audio=[plain, default])).stream is default
    assert sound_of(SimpleNamespace(audio=[])) is None


def test_a_relative_name_with_a_colon_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.rename(make_clip("a.mp4", grey(3)), "2024-05-01T12:30.mp4")
    assert len(read_all(open_file(Path("2024-05-01T12:30.mp4")))) == 3


def test_sound_is_put_aside_for_who_wants_it(tmp_path):
    path = make_clip(tmp_path / "a.mp4", grey(25), sound="aac")
    source = open_file(path)
    read_all(source)
    assert not source.sound.packets
    source = open_file(path)
    source.sound.wanted = True
    while source.read() is not None:
        pass
    before = list(source.sound.take(0.5))
    after = list(source.sound.take(float("inf")))
    assert 20 < len(before) < 27 and 20 < len(after) < 27  # 1024 samples of 48 kHz each
    source.close()
