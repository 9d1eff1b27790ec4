"""The sample: a portrait as a hand-held camera would show it. What infer.py runs on where there is no camera.

    python infer.py --source sample

The portrait (docs/portrait.png) is NASA's of Eileen Collins, in the public domain.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import cv2
import numpy as np

from files.pictures import read_image
from media.frames import Frame

PORTRAIT = Path(__file__).resolve().parent.parent / "docs" / "portrait.png"
FRAMES = 240  # once round the path
SIZE = (480, 640)  # (height, width)
RATE = 30.0
FACE = (0.437, 0.235)  # where the face's centre is in the portrait, (x, y) in parts of its sides


def path(
    index: int, side: float, size: tuple[int, int] = SIZE, face: tuple[float, float] = FACE
) -> np.ndarray:
    """The 2x3 matrix from a square picture to frame `index`, for cv2.warpAffine.

    side: of the picture. size: (height, width) of the frame. face: the point that stays in the frame, in
    parts of the side. After 240 frames the movement starts again.
    """
    turn = 2 * math.pi * index / FRAMES
    zoom = 1.9 + 0.4 * math.sin(2 * turn)  # of a picture as high as the frame
    scale = zoom * size[0] / side
    angle = math.radians(7 * math.sin(3 * turn))
    x = size[1] * (0.44 + 0.1 * math.sin(turn))
    y = size[0] * (
        0.95 * zoom * face[1] - 0.03 * math.sin(4 * turn)
    )  # no further down than the picture reaches
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    px, py = face[0] * side, face[1] * side
    return np.array(
        [[cosine, -sine, x - cosine * px + sine * py], [sine, cosine, y - sine * px - cosine * py]],
        np.float32,
    )


class Sample:
    """A source like those of sources.py."""

    live = False
    name = "the sample"
    sound = colors = None

    def __init__(self, endless: bool = False, stride: int = 1):
        """endless: start again after each round. stride: only every so-many-th frame is given.

        Raises UserError if the portrait is missing.
        """
        self.endless = endless
        self.stride = stride
        self.rate = RATE / stride
        self.expected = math.ceil(FRAMES / stride)
        self.portrait = cv2.cvtColor(read_image(PORTRAIT), cv2.COLOR_RGB2BGR)
        self.index = 0

    def read(self) -> Frame | None:
        if self.index >= FRAMES and not self.endless:
            return None
        matrix = path(self.index % FRAMES, self.portrait.shape[0])
        image = cv2.warpAffine(
            self.portrait, matrix, SIZE[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        at, self.index = self.index, self.index + self.stride
        return Frame(image, at, time.perf_counter(), at / RATE, self.index / RATE)

    def close(self) -> None:
        """Nothing is open."""
