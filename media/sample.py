"""The sample: a portrait as a hand-held camera would show it. What infer.py runs on where there is no camera.

    python infer.py --source sample

The portrait (docs/portrait.png) is NASA's of Eileen Collins, in the public domain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from files.pictures import read_image
from media.frames import Source

PORTRAIT = Path(__file__).resolve().parent.parent / "docs" / "portrait.png"
FRAMES = 240  # once round the path
SIZE = (480, 640)  # (height, width)
RATE = 30.0
FACE = (0.437, 0.235)  # where the face's centre is in the portrait, (x, y) in parts of its sides


def path(index: int, side: float) -> np.ndarray:
    """Return the 2x3 matrix from the portrait to frame `index`, for cv2.warpAffine. side: of the portrait."""
    turn = 2 * math.pi * index / FRAMES
    height, width = SIZE
    zoom = 1.9 + 0.4 * math.sin(2 * turn)  # of a picture as high as the frame
    x = width * (0.44 + 0.1 * math.sin(turn))
    y = height * (0.95 * zoom * FACE[1] - 0.03 * math.sin(4 * turn))  # not below the picture's lower edge
    centre = (FACE[0] * side, FACE[1] * side)
    matrix = cv2.getRotationMatrix2D(centre, -7 * math.sin(3 * turn), zoom * height / side)
    matrix[:, 2] += (x - centre[0], y - centre[1])
    return matrix


class Sample(Source):
    def __init__(self, endless: bool = False, stride: int = 1):
        """endless: start again after each round. Raises UserError if the portrait is missing."""
        self.endless = endless
        self.portrait = cv2.cvtColor(read_image(PORTRAIT), cv2.COLOR_RGB2BGR)
        super().__init__("the sample", RATE, stride, FRAMES)

    def _pictures(self) -> Iterator[tuple[np.ndarray, float, float]]:
        for index in itertools.count() if self.endless else range(FRAMES):
            matrix = path(index, self.portrait.shape[0])
            image = cv2.warpAffine(self.portrait, matrix, SIZE[::-1], borderMode=cv2.BORDER_REPLICATE)
            yield image, index / RATE, (index + 1) / RATE
