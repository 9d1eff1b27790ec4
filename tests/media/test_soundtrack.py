"""The sound of videos: python -m pytest tests/media/test_soundtrack.py"""

from __future__ import annotations

import contextlib
import random

import av
import pytest
from clips import copied_stream, copy_clip, frames_of, make_clip, read_clip, sound_of
from scenes import background

from media.videos import open_file
from media.writers import VideoWriter
from utils import UserError


@pytest.mark.parametrize(
    "sound, name, suffix, wanted",
    [
        ("aac", "in.mp4", ".mp4", "aac"),
        ("pcm_s16le", "in.mov", ".mov", "pcm_s16le"),
        ("pcm_s16le", "in.mov", ".mp4", "aac"),
        ("pcm_s16le", "in.mkv", ".webm", "opus"),
        ("libopus", "in.webm", ".webm", "opus"),
        ("aac", "in.mp4", ".mkv", "aac"),
        ("aac", "in.ts", ".mp4", "aac"),
        ("aac", "in.ts", ".mkv", "aac"),
        ("libmp3lame", "in.mp4", ".mov", "mp3"),
    ],
)
def test_sound_is_copied_or_encoded(tmp_path, sound, name, suffix, wanted):
    codec = {"codec": "libvpx-vp9"} if name.endswith("webm") else {}
    frames = [background(48, 64, number) for number in range(50)]
    source = make_clip(tmp_path / name, frames, sound=sound, **codec)
    out = copy_clip(source, tmp_path / f"out{suffix}")
    kind, seconds = sound_of(out)
    assert kind == wanted and seconds == pytest.approx(2, abs=0.06)
    assert read_clip(out)[1][0] == pytest.approx(0, abs=0.03)  # the picture's beginning is where it was
    assert len(frames_of(out)) == 50
    assert sound_of(copy_clip(source, tmp_path / f"mute{suffix}", sound=False)) == ("", 0.0)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])  # copied, and encoded
def test_the_language_of_the_sound_is_kept(tmp_path, suffix):
    source = make_clip(tmp_path / "in.mp4", [background(48, 64)] * 25, sound="aac")
    with av.open(str(source)) as old, av.open(str(tmp_path / "told.mp4"), "w") as new:
        streams = [copied_stream(new, stream) for stream in old.streams]
        streams[1].metadata["language"] = "deu"
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    with av.open(str(copy_clip(tmp_path / "told.mp4", tmp_path / f"out{suffix}"))) as file:
        assert file.streams.audio[0].metadata["language"] in ("deu", "ger")


def test_sound_that_goes_on_after_the_pictures_is_whole(tmp_path):
    source = make_clip(tmp_path / "in.mp4", [background(48, 64)] * 5, sound="aac", seconds=2)
    assert sound_of(copy_clip(source, tmp_path / "out.mp4"))[1] == pytest.approx(2, abs=0.06)


def channels_of(path) -> tuple[str, int, int]:
    """Return codec, channels and samples/s of a file's sound."""
    with av.open(str(path)) as file:
        context = file.streams.audio[0].codec_context
        return context.codec.canonical_name, context.layout.nb_channels, context.rate


@pytest.mark.parametrize(
    "sound, name, layout, rate, suffix, wanted",
    [  # in these files the channels have no names
        ("pcm_s16le", "in.avi", "mono", 44_100, ".mp4", ("aac", 1, 44_100)),
        ("pcm_s16le", "in.avi", "stereo", 44_100, ".mkv", ("pcm_s16le", 2, 44_100)),
        ("pcm_s16le", "in.avi", "stereo", 22_050, ".webm", ("opus", 2, 48_000)),
        ("pcm_s16le", "in.mkv", "5.1", 48_000, ".mp4", ("aac", 6, 48_000)),
        ("pcm_s24le", "in.mkv", "5.1", 48_000, ".webm", ("opus", 2, 48_000)),
        ("pcm_u8", "in.avi", "mono", 11_025, ".mov", ("aac", 1, 11_025)),
        ("wmav2", "in.avi", "stereo", 44_100, ".mp4", ("aac", 2, 44_100)),
        ("wmav2", "in.wmv", "mono", 44_100, ".mkv", ("aac", 1, 44_100)),
        ("adpcm_ms", "in.avi", "mono", 22_050, ".mp4", ("aac", 1, 22_050)),
        ("adpcm_ima_wav", "in.avi", "stereo", 44_100, ".mp4", ("aac", 2, 44_100)),
        ("adpcm_ima_wav", "in.avi", "mono", 37_800, ".mp4", ("aac", 1, 44_100)),  # a rate that AAC has not
        # MP3 that MP4 has no name for
        ("libmp3lame", "in.avi", "mono", 8_000, ".mp4", ("aac", 1, 8_000)),
        ("libmp3lame", "in.avi", "stereo", 12_000, ".m4v", ("aac", 2, 12_000)),
        ("libmp3lame", "in.avi", "mono", 8_000, ".mkv", ("mp3", 1, 8_000)),
    ],
)
def test_sound_as_cameras_write_it(tmp_path, sound, name, layout, rate, suffix, wanted):
    frames = [background(48, 64, number) for number in range(25)]
    source = make_clip(tmp_path / name, frames, codec="mpeg4", sound=sound, layout=layout, sound_rate=rate)
    out = copy_clip(source, tmp_path / f"out{suffix}")
    assert channels_of(out) == wanted and sound_of(out)[1] == pytest.approx(1, abs=0.16)
    assert len(frames_of(out)) == 25


def test_sound_that_cannot_be_written_is_left_out_with_a_line(tmp_path, caplog):
    frames = [background(48, 64, number) for number in range(5)]
    source = make_clip(tmp_path / "in.mkv", frames, sound="pcm_s16le", layout="hexadecagonal")
    out = copy_clip(source, tmp_path / "out.mp4")
    assert len(frames_of(out)) == 5 and sound_of(out) == ("", 0.0)
    assert caplog.messages == [f"{out}: the sound (pcm_s16le) cannot be written: left out"]
    reader = open_file(source)
    writer = VideoWriter(out, reader.rate, reader.colors, reader.sound)
    for frame in iter(reader.read, None):
        writer.write(frame.image, frame.at, frame.until)
    writer.close()
    assert not reader.sound.packets  # nobody takes them: they would fill the memory


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pictures_are_on_the_disk_also_where_the_sound_has_ended(tmp_path, suffix):
    frames = [background(48, 64, number) for number in range(100)]
    source = open_file(make_clip(tmp_path / "in.mp4", frames, sound="aac", seconds=0.5))
    writer = VideoWriter(tmp_path / f"out{suffix}", source.rate, source.colors, source.sound)
    while (frame := source.read()) is not None:
        writer.write(frame.image, frame.at, frame.until)
    assert len(frames_of(tmp_path / f"out.unfinished{suffix}")) >= 100 - 31  # before it is closed
    writer.close()


def test_damaged_sound_costs_no_picture(tmp_path, caplog):
    source = make_clip(tmp_path / "in.mp4", [background(48, 64, number) for number in range(25)], sound="aac")
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as file:
        places = [(packet.pos, packet.size) for packet in file.demux(audio=0) if packet.size]
    for start, size in places[10:20]:
        data[start : start + size] = b"\xff" * size
    source.write_bytes(data)
    out = copy_clip(source, tmp_path / "out.webm")
    assert len(frames_of(out)) == 25 and 0.5 < sound_of(out)[1] < 0.95
    assert caplog.messages == [f"{out}: 10 damaged packets of the sound are left out"]


SOUNDS = [  # name, codec of the pictures, codec of the sound, its channels
    ("a.mp4", "libx264", "aac", "mono"),
    ("a.mkv", "libx264", "flac", "stereo"),
    ("a.mov", "libx264", "alac", "stereo"),
    ("a.ts", "libx264", "aac", "mono"),
    ("a.webm", "libvpx-vp9", "libopus", "stereo"),
    ("a.avi", "mpeg4", "libmp3lame", "mono"),
    ("b.avi", "mpeg4", "wmav2", "stereo"),
    ("c.avi", "mpeg4", "adpcm_ms", "mono"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name, codec, sound, layout", SOUNDS)
def test_no_damage_to_a_file_costs_a_picture_that_could_be_read(tmp_path, name, codec, sound, layout):
    frames = [background(48, 64, number) for number in range(25)]
    how = {"codec": codec, "sound": sound, "layout": layout, "sound_rate": 48_000}
    data = make_clip(tmp_path / name, frames, **how).read_bytes()
    written = 0
    for seed in range(100):
        draw, damaged = random.Random(seed), bytearray(data)
        for _ in range(draw.choice((1, 5, 30))):
            damaged[draw.randrange(len(data) // 20, len(data))] = draw.randrange(256)
        (tmp_path / name).write_bytes(damaged)
        with contextlib.suppress(UserError):  # of the source
            source = open_file(tmp_path / name)
            count = sum(1 for _ in iter(source.read, None))
            out = copy_clip(tmp_path / name, tmp_path / ("out.mp4", "out.mkv", "out.webm")[seed % 3])
            assert len(frames_of(out)) == count
            written += 1
    assert written > 70
