"""Clips for the tests, made by PyAV with whatever codec, times and colours a test needs, and read back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from media.soundtrack import codec_of
from media.videos import open_file
from media.writers import VideoWriter


def make_clip(
    path: str | Path,
    frames: list,
    rate: float = 25,
    times: list | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    colors: tuple = (2, 0),
    aspect: Fraction | None = None,
    sound: str | None = None,
    seconds: float | None = None,
    sound_rate: int = 48_000,
    layout: str = "mono",
    **options: str,
) -> Path:
    """Write frames, HWC uint8 BGR.

    times: seconds at which each is shown; by default as the rate has it. colors: FFmpeg's matrix and range.
    sound: a codec, for a tone of 440 Hz that lasts as long as the pictures, or `seconds`.
    """
    rate = Fraction(rate).limit_denominator(1001)
    clock = 1 / rate if times is None else Fraction(1, 90_000)
    defaults = {"crf": "10", "preset": "ultrafast"} if codec == "libx264" else {}
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, options={**defaults, **options})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        context = stream.codec_context
        context.time_base = clock
        context.colorspace, context.color_range = colors
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        tone = file.add_stream(sound, rate=sound_rate, layout=layout, bit_rate=64_000) if sound else None
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.colorspace = colors[0]
            frame = frame.reformat(format=pix_fmt, dst_color_range=colors[1])
            frame.pts = number if times is None else round(times[number] / clock)
            frame.time_base = clock
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if tone is not None:
            add_tone(file, tone, seconds or float(len(frames) / rate))
    return Path(path)


def add_picture(video: VideoWriter, picture: np.ndarray) -> None:
    """Write a picture at the time that the rate has for it."""
    count, rate = video.encoder.count, video.encoder.rate
    video.write(picture, count / rate, (count + 1) / rate)


def copy_clip(source: Path, target: Path, stride: int = 1, sound: bool = True, **options) -> Path:
    """Read a file and write its frames, as infer.py does."""
    video = open_file(source, stride)
    writer = VideoWriter(target, video.rate, video.colors, video.sound if sound else None, **options)
    while (frame := video.read()) is not None:
        writer.write(frame.image, frame.at, frame.until)
    if video.sound is not None:
        video.sound.ended = True
    writer.close()
    video.close()
    return writer.result


def add_tone(file: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    rate, channels = stream.rate, stream.layout.nb_channels
    wave = (8000 * np.sin(2 * np.pi * 440 * np.arange(round(rate * seconds)) / rate)).astype(np.int16)
    for start in range(0, len(wave), rate // 50):
        samples = np.repeat(wave[start : start + rate // 50], channels)[None]
        part = av.AudioFrame.from_ndarray(samples, format="s16", layout=stream.layout)
        part.sample_rate, part.pts, part.time_base = rate, start, Fraction(1, rate)
        file.mux(stream.encode(part))
    file.mux(stream.encode())


def copied_stream(file: av.container.OutputContainer, stream: av.stream.Stream) -> av.stream.Stream:
    """Return a new stream of the file for the packets of another one."""
    copy = file.add_stream_from_template(stream)
    copy.metadata["language"] = stream.metadata.get("language", "und")
    return copy


def read_clip(path: str | Path) -> tuple[list, list]:
    """Return the frames (HWC uint8 BGR), and the seconds at which each is shown."""
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    return [f.to_ndarray(format="bgr24") for f in frames], [float(f.pts * f.time_base) for f in frames]


def frames_of(path: str | Path) -> list:
    return read_clip(path)[0]


def length_of(path: str | Path) -> float:
    """Return the seconds that a player shows."""
    with av.open(str(path)) as file:
        return file.duration / 1e6


def sound_of(path: str | Path) -> tuple[str, float]:
    """Return the codec of the sound, and the seconds that are not silent; ("", 0.0) where there is none."""
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return "", 0.0
        stream = file.streams.audio[0]
        loud = sum(
            np.abs(f.to_ndarray().astype(float)).max() > 0 and f.samples / f.rate for f in file.decode(stream)
        )
        return codec_of(stream), loud
