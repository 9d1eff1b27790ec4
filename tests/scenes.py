"""A world in which faces are red ellipses, and a network that knows it: what the live part's tests look at.

With them the right mask of every frame is known without any weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from clips import add_picture

from faces.detector import Detection
from faces.mask import Region
from files.pictures import write_image
from media.writers import VideoWriter
from utils import MEAN, STD

ROOT = Path(__file__).resolve().parent.parent
RED = (20, 20, 230)  # BGR


def red_runtime(batch: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) normalised RGB -> (N, 1, H, W) logits: above 0 where it is red."""
    pixels = batch * STD[:, None, None] + MEAN[:, None, None]
    redness = pixels[:, :1] - pixels[:, 1:].max(axis=1, keepdims=True)
    return ((redness - 105) / 10).astype(np.float32)


red_runtime.name = "red on CPU"


class RedDetector:
    """A detector (see faces/detector.py) that knows red faces, each surer the larger it is."""

    def __init__(self, small_faces: bool = False):
        self.calls = 0

    def detect(self, frame: np.ndarray, turned: bool = False) -> list[Detection]:
        self.calls += 1
        blue, green, red = (channel.astype(int) for channel in cv2.split(frame))
        is_red = (red - np.maximum(blue, green) > 105).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(is_red)
        parts = [part for part in stats[1:].tolist() if part[4] > 60]
        boxes = [Region(left, top, left + width, top + height) for left, top, width, height, _ in parts]
        faces = [Detection(box, 1 - 1 / box.height) for box in boxes]
        return sorted(faces, key=lambda face: -face.confidence)


def portrait() -> tuple[np.ndarray, Region]:
    """The portrait, 512x512 BGR, and the box of its face from brow to chin."""
    return cv2.imread(str(ROOT / "docs" / "portrait.png")), Region(179, 68, 270, 178)


@functools.cache
def portrait_head() -> tuple[np.ndarray, Region]:
    """Its head and the mask of its face, 300x300 BGRA, and the box of the face."""
    image, box = portrait()
    mask = cv2.imread(str(ROOT / "docs" / "portrait_mask.png"), cv2.IMREAD_GRAYSCALE)
    return np.dstack([image, mask])[:300, 80:380], box.moved(-80, 0)


def paste_portraits(
    size: tuple[int, int], places: list, oval: bool = False
) -> tuple[np.ndarray, list[Region], np.ndarray]:
    """A scene of this (height, width) with the portrait's head in some places; the boxes and the mask of the
    faces, HxW bool.

    places: (x, y) of the corner and the side in pixels of each; with a negative side it stands on its head.
    What lies outside the scene is cut off. oval: the heads are cut out, so that little behind them is hidden.
    """
    head, box = portrait_head()
    frame, boxes = np.dstack([background(*size), np.zeros(size, np.uint8)]), []
    for x, y, side in places:
        scale = abs(side) / 300
        small = cv2.resize(head, (abs(side), abs(side)), interpolation=cv2.INTER_AREA)
        face = Region(*(round(value * scale) for value in box))
        if side < 0:
            small = cv2.rotate(small, cv2.ROTATE_180)
            face = Region(-side - face.right, -side - face.bottom, -side - face.left, -side - face.top)
        place = Region(x, y, x + abs(side), y + abs(side)).inside(*size)
        inner = place.moved(-x, -y)
        shape = np.full(small.shape[:2], not oval, np.uint8)
        if oval:
            centre = (round(face.centre[0]), round(face.centre[1] - 0.1 * face.height))
            cv2.ellipse(shape, centre, (round(0.75 * face.width), round(0.8 * face.height)), 0, 0, 360, 1, -1)
        is_head = shape[inner.rows, inner.columns, None] > 0
        np.copyto(frame[place.rows, place.columns], small[inner.rows, inner.columns], where=is_head)
        boxes.append(face.moved(x, y).inside(*size))
    return np.ascontiguousarray(frame[..., :3]), boxes, frame[..., 3] > 127


def left_quarter(batch: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) -> (N, 1, H, W) logits of a network that sees nothing but the place."""
    return np.where(np.arange(batch.shape[3]) < batch.shape[3] // 4, 30, -10) + 0 * batch[:, :1]


left_quarter.name = "left quarter on CPU"


def background(height: int, width: int, seed: int = 0) -> np.ndarray:
    """HWC uint8 BGR: grey and bluish shades with some structure, nothing red."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 190, (height // 16 + 2, width // 16 + 2), dtype=np.uint8)
    grey = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.merge([grey, grey, (grey * 0.8).astype(np.uint8)])


def draw_face(frame: np.ndarray, centre: tuple, radius: float) -> np.ndarray:
    """A face into the frame, in place; returns its true mask, HxW bool. radius: half its height."""
    axes = (round(radius * 0.75), round(radius))
    place = (round(centre[0]), round(centre[1]))
    cv2.ellipse(frame, place, axes, 0, 0, 360, RED, -1)
    truth = np.zeros(frame.shape[:2], np.uint8)
    cv2.ellipse(truth, place, axes, 0, 0, 360, 1, -1)
    return truth.astype(bool)


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    mask, truth = np.asarray(mask, bool), np.asarray(truth, bool)
    return np.count_nonzero(mask & truth) / max(1, np.count_nonzero(mask | truth))


def clip(path: str, count: int = 40, size: tuple = (240, 320), rate: float = 12.5) -> list:
    """A video of a red face that moves; returns the true masks."""
    video, truths = VideoWriter(path, rate), []
    for step in range(count):
        frame = background(*size)
        truths.append(draw_face(frame, (80 + 3 * step, 120), 40))
        add_picture(video, frame)
    video.close()
    return truths


def photo(name: str, face: bool = True) -> np.ndarray:
    """Write a photo of a red face, or of none; returns its true mask."""
    frame = background(240, 320)
    truth = draw_face(frame, (150, 120), 60) if face else np.zeros((240, 320), bool)
    write_image(name, frame[..., ::-1])
    return truth


class Shot(NamedTuple):
    """A frame of a video."""

    image: np.ndarray  # HWC uint8 BGR
    at: float  # seconds


def shots(images: Iterable[np.ndarray], rate: float = 25.0) -> Iterator[Shot]:
    """The images as frames of a video of so many frames/s."""
    return (Shot(image, index / rate) for index, image in enumerate(images))


def film(scenes: list[list], size: tuple[int, int] = (240, 320)) -> tuple[list, list[list[Region]]]:
    """Numbered frames, each `paste_portraits` of one scene's places, and the boxes of the faces in each."""
    images, boxes = [], []
    for number, places in enumerate(scenes):
        image, known, _ = paste_portraits(size, places, oval=True)
        image[0, 0] = number
        images.append(image)
        boxes.append(known)
    return images, boxes


class Known:
    """A detector that knows the boxes of a film."""

    def __init__(
        self, boxes: list[list[Region]], sees: Callable[[int, int], bool] = lambda number, face: True
    ):
        """sees: whether it sees a face, counted from 0, in the frame of a number."""
        self.boxes, self.sees = boxes, sees
        self.calls: list[int] = []  # the numbers of the frames

    def detect(self, frame: np.ndarray, turned: bool = False) -> list[Detection]:
        number = int(frame[0, 0, 0])
        self.calls.append(number)
        return [
            Detection(box, 0.9)
            for face, box in enumerate(self.boxes[number])
            if box.width and box.height and self.sees(number, face)
        ]
