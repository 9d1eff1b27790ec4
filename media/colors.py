"""Between the frames of videos (YCbCr) and images (BGR), without the bias of the usual short cuts.

    image = VideoReformatter().reformat(frame, format="bgr24", interpolation=EXACT).to_ndarray()
    image = turned(image, display_matrix(frame))
    frame = encode(image, Colors(1, 1))

FFmpeg's own fast conversion rounds down, so that a video becomes darker by one or two levels each time; its
exact one does so still where it encodes the full range.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.filter import Graph

# By FFmpeg's number of the matrix (ITU-T H.273, table 4; 2: not said), red's and blue's share of brightness.
SHARES = {1: (0.2126, 0.0722), 4: (0.3, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
SHARES.update(dict.fromkeys((2, 5, 6), (0.299, 0.114)))
EXACT = 1 << 1 | 1 << 13 | 1 << 18  # FFmpeg's flags: bilinear, colour for each pixel, accurate rounding
HD = 720  # rows; from here on players assume BT.709 where a file does not name its colours
HDR = (16, 18)  # transfers: PQ and HLG
UPRIGHT = (1, 0, 0, 0, 1, 0, 0, 0, 1)
# Kinds of side data on which PyAV crashes (colour profiles with a name), or which it does not know (EXIF).
UNSAFE = (15, *range(28, 48))
FULL = 2  # the range of 0 to 255; else it is 16 to 235, and 16 to 240 for the colour differences


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

    A matrix that `encode` does not have, as that of RGB, becomes the usual one.
    """
    colors = colors if colors.matrix in SHARES else colors._replace(matrix=6)
    usual = {1: (1, 1), 5: (5, 6), 6: (6, 6)}.get(colors.matrix, (2, 2))
    primaries, transfer = (one if given == 2 else given for given, one in zip(colors[2:], usual))
    return colors._replace(primaries=primaries, transfer=transfer)


@functools.lru_cache(maxsize=8)
def matrix_of(matrix: int, full: bool) -> np.ndarray:
    """Return the 3x4 float64 matrix from (B, G, R, 1) to (Y, Cb, Cr)."""
    red, blue = SHARES[matrix]
    y, (only_blue, _, only_red) = np.array([blue, 1 - red - blue, red]), np.eye(3)
    rows = np.array([y, (only_blue - y) / (2 - 2 * blue), (only_red - y) / (2 - 2 * red)])
    if not full:
        rows *= np.array([[219], [224], [224]]) / 255
    return np.hstack([rows, [[0 if full else 16], [128], [128]]])


def encode(image: np.ndarray, colors: Colors) -> av.VideoFrame:
    """Return a frame, yuv420p, of an HWC uint8 BGR image with even sides. colors: of `completed`."""
    height, width = image.shape[:2]
    if SHARES[colors.matrix] == SHARES[6] and colors.range != FULL:
        return av.VideoFrame.from_ndarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), format="yuv420p")
    pixels = cv2.transform(image, matrix_of(colors.matrix, colors.range == FULL))
    half = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, values in zip(frame.planes, (pixels[..., 0], half[..., 1], half[..., 2])):
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:, : plane.width] = values
    return frame


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
    return np.ascontiguousarray(image[:: -1 if y < 0 else 1, :: -1 if x < 0 else 1])
