"""What the numbers of videos mean as colours, and which way up their frames are.

image = VideoReformatter().reformat(frame, format="bgr24", interpolation=EXACT).to_ndarray()
image = turned(image, display_matrix(frame))
"""

from __future__ import annotations

from typing import NamedTuple

import av
import cv2
import numpy as np
from av.filter import Graph

# FFmpeg's flags: bilinear, colour for each pixel, accurate rounding. Its fast conversion rounds down: a video
# becomes darker by one or two levels each time. (Written in full range, blue and red still lose up to one.)
EXACT = 1 << 1 | 1 << 13 | 1 << 18
BT601 = (2, 5, 6)  # FFmpeg's numbers of the matrix that is usual below HD
MATRICES = (1, 2, 4, 5, 6, 7, 9)  # that are written, by FFmpeg's number (ITU-T H.273, table 4; 2: not said)
FULL = 2  # the range of 0 to 255; else it is 16 to 235
HD = 720  # rows; from here on players assume BT.709 where a file does not name its colours
HDR = (16, 18)  # transfers: PQ and HLG
UPRIGHT = (1, 0, 0, 0, 1, 0, 0, 0, 1)
# Kinds of side data on which PyAV crashes (colour profiles with a name), or which it does not know (EXIF).
UNSAFE = (15, *range(28, 48))


class Colors(NamedTuple):
    """What a video's numbers mean, as FFmpeg's constants. By default it does not say."""

    matrix: int = 2
    range: int = 0
    primaries: int = 2
    transfer: int = 2


def colors_of(codec: av.VideoCodecContext) -> Colors:
    """Return a track's colours: what means nothing is not said."""
    matrix = 1 if codec.colorspace == 2 and codec.height >= HD else codec.colorspace
    span = codec.color_range if codec.color_range in (1, FULL) else 0
    rest = (codec.color_primaries, codec.color_trc)
    return Colors(matrix, span, *(2 if n in (0, 3) or n > 22 else n for n in rest))


def completed(colors: Colors) -> Colors:
    """Return them with the primaries and the transfer that go with the matrix: browsers ignore one alone.

    A matrix that is not written, as that of RGB, becomes the usual one.
    """
    colors = colors if colors.matrix in MATRICES else colors._replace(matrix=6)
    usual = {1: (1, 1), 5: (5, 6), 6: (6, 6)}.get(colors.matrix, (2, 2))
    primaries, transfer = (one if given == 2 else given for given, one in zip(colors[2:], usual))
    return colors._replace(primaries=primaries, transfer=transfer)


def written(colors: Colors | None, height: int, codec: str) -> Colors:
    """Return the colours of a video that is made of one with these; None: of pictures, as usual for the size.

    Where nothing is said of the colours, players take them so.
    """
    colors = colors or Colors(1 if height >= HD else 6, 1)
    if colors.matrix == 2 and height >= HD:  # turned, or scaled: it had fewer rows
        colors = colors._replace(matrix=6)
    if codec == "prores_ks":  # it does not say its range
        colors = colors._replace(range=1)
    return completed(colors)


def is_usual(pixels: str, colors: Colors, height: int, width: int) -> bool:
    """Return whether OpenCV, in a tenth of the time, converts such frames, as I420. pixels: the format."""
    known = pixels == "yuv420p" and colors.matrix in BT601 and colors.range != FULL
    return known and not (height % 2 or width % 2)


def display_matrix(frame: av.VideoFrame) -> np.ndarray:
    """Return how to turn and flip a frame: 9 numbers, by rows."""
    graph = Graph()
    buffer = graph.add_buffer(None, frame.width, frame.height, frame.format, time_base=frame.time_base)
    removers = (graph.add("sidedata", f"mode=delete:type={kind}") for kind in UNSAFE)
    graph.link_nodes(buffer, *removers, graph.add("buffersink")).configure()
    graph.push(frame)
    matrix = graph.pull().side_data.get("DISPLAYMATRIX")
    return np.array(UPRIGHT) if matrix is None else np.frombuffer(matrix, np.int32)


def turned(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the image turned and flipped as `display_matrix` says, to the nearest quarter."""
    a, b, c, d = (int(matrix[place]) for place in (0, 1, 3, 4))
    x, y = a, d
    if abs(b) > abs(a):
        image, x, y = cv2.transpose(image), c, b
    if x >= 0 and y >= 0:
        return image
    return cv2.flip(image, -1 if x < 0 and y < 0 else 1 if x < 0 else 0)  # many times as fast as NumPy's
