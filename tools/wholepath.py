"""The whole way from video file to video file, timed: decode, network, overlay, encode, as infer.py does it.

    from tools.wholepath import bench_videos, read_frames
    results = bench_videos("weights/linknet34.safetensors", read_frames(None, 300), folder, ["int8"], 300)

bench.py prints the results.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2

from media.sample import Sample
from media.writers import VideoWriter
from tools.backends import BenchError

ROOT = Path(__file__).resolve().parent.parent
VIDEO_SIZES = ((480, 640), (720, 1280))  # (height, width)
ROUNDS = 3  # the precisions take turns; the median of the rounds counts


def bench_videos(
    weights: str | Path, frames: list, folder: Path, precisions: list, count: int, sizes: tuple = VIDEO_SIZES
) -> list[dict]:
    """One dict a frame size and precision: frames/s of infer.py from file to file, and its start-up time.

    frames: HWC uint8 BGR, of which videos of `count` frames are made in `folder`. sizes: (height, width) of
    the videos. Raises BenchError if infer.py fails.
    """
    results = []
    for height, width in sizes:
        source = folder / f"{width}x{height}.mp4"
        write_video(source, frames, (height, width), count)
        rates: dict = {precision: [] for precision in precisions}
        starts: dict = {precision: [] for precision in precisions}
        for turn in range(ROUNDS):
            print(f"bench.py: {source.stem}, round {turn + 1} of {ROUNDS}", file=sys.stderr)
            for precision in precisions:
                rates[precision].append(infer(weights, source, precision)[0])
                starts[precision].append(infer(weights, source, precision, "--max-frames", "1")[1])
        results += [
            {
                "width": width,
                "height": height,
                "precision": precision,
                "frames_per_second": statistics.median(rates[precision]),
                "first_frame_seconds": statistics.median(starts[precision]),
            }
            for precision in precisions
        ]
    return results


def infer(weights: str | Path, source: Path, precision: str, *more: str) -> tuple[float, float]:
    """Run infer.py on a video. Returns (its frames/s, the seconds that its process lived)."""
    command = [sys.executable, str(ROOT / "infer.py"), "--source", str(source), "--weights", str(weights)]
    command += ["--output", str(source.with_name("out.mp4")), "--no-window", "--device", "cpu"]
    command += ["--precision", precision, *more]
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    rate = re.search(r"([\d.]+) frames/s", result.stdout)
    if result.returncode or not rate:
        raise BenchError(f"infer.py ended with status {result.returncode}: {result.stderr.strip()[-500:]}")
    return float(rate[1]), seconds


def read_frames(video: str | None, count: int) -> list:
    """The first `count` frames of a video, or of the sample: HWC uint8 BGR. Fewer if it is shorter."""
    if video is None:
        sample = Sample()
        return [sample.read().image for _ in range(min(count, sample.expected))]
    capture = cv2.VideoCapture(video)
    frames = []
    while len(frames) < count:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(frame)
    capture.release()
    if not frames:
        raise BenchError(f"{video}: no frame can be read from it")
    return frames


def write_video(path: Path, frames: list, size: tuple[int, int], count: int) -> None:
    """A video of `count` frames, resized to (height, width); where they run out they start again."""
    video = VideoWriter(path, rate=30)
    try:
        for index in range(count):
            video.write(cv2.resize(frames[index % len(frames)], size[::-1], interpolation=cv2.INTER_AREA))
    finally:
        video.close()
