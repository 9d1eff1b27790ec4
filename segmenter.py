"""From a frame to its mask: region, network, following, smoothing.

    segmenter = Segmenter(open_runtime("weights/linknet34.safetensors"))
    for frame in frames:                    # of one video, HWC uint8 BGR
        mask = segmenter(frame)
    probability = segment_picture(runtime, picture)  # one picture by itself

A runtime is any function from (N, 3, H, W) float32 normalised RGB to (N, 1, H, W) float32 logits.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

import cv2
import numpy as np

from follow import Follow, crop_about, find_faces, is_closer
from regions import Region, paste, take, whole_frame
from smooth import Smooth
from timing import Timing
from utils import preprocess, sigmoid

Runtime = Callable[[np.ndarray], np.ndarray]
FAINT = 12  # of 255: what is less probable than this counts as nothing


class Mask(NamedTuple):
    """The probability of face, HxW uint8 (255 is certain), and the region outside which there is none."""

    probability: np.ndarray
    region: Region

    def share(self, threshold: float) -> float:
        """The part of the frame that is face, 0..1."""
        left, top, right, bottom = self.region
        inside = self.probability[top:bottom, left:right] > threshold * 255
        return np.count_nonzero(inside) / self.probability.size


def to_mask(probability: np.ndarray, region: Region, shape: tuple) -> Mask:
    """The probability of a region (HxW float32, 0..1) as the mask of a frame of `shape`."""
    levels = (probability * 255 + 0.5).astype(np.uint8)
    left, top, width, height = cv2.boundingRect((levels > FAINT).astype(np.uint8))
    full = np.zeros(shape[:2], np.uint8)
    if width == 0:
        return Mask(full, Region(0, 0, 0, 0))
    paste(levels, region, full)
    x_scale, y_scale = region.width / levels.shape[1], region.height / levels.shape[0]
    occupied = Region(  # one pixel of the network's more on each side, as resizing spreads that far
        int(region.left + max(left - 1, 0) * x_scale),
        int(region.top + max(top - 1, 0) * y_scale),
        int(np.ceil(region.left + min(left + width + 1, levels.shape[1]) * x_scale)),
        int(np.ceil(region.top + min(top + height + 1, levels.shape[0]) * y_scale)),
    )
    return Mask(full, occupied.inside(shape[0], shape[1]))


class Segmenter:
    """The masks of one stream of frames. Not for use by several threads at once."""

    def __init__(
        self,
        runtime: Runtime,
        size: int = 256,
        follow: bool = True,
        smooth: float = 0.0,
        timing: Timing | None = None,
    ):
        """size: the longest side of the network's input. smooth: 0 (off) to below 1."""
        self.runtime = runtime
        self.size = size
        self.follow = Follow(size) if follow else None
        self.smooth = Smooth(smooth)
        self.timing = timing or Timing()

    def __call__(self, frame: np.ndarray) -> Mask:
        """frame: HWC uint8 BGR. Raises whatever the runtime raises."""
        if self.follow is None:
            region, size = whole_frame(*frame.shape[:2], self.size)
            probability, image = self.look(frame, region, size)
        else:
            probability, image, region = self._followed(frame)
        with self.timing("smooth"):
            probability = self.smooth(probability, image, region)
        with self.timing("mask"):
            return to_mask(probability, region, frame.shape)

    def _followed(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, Region]:
        whole, whole_size = whole_frame(*frame.shape[:2], self.size)
        region, size = self.follow.next_region(frame.shape)
        probability, image = self.look(frame, region, size)
        found = self.follow.update(probability, region, frame.shape)
        if region != whole and not found:  # the face left the crop: find it in this same frame
            region = whole
            probability, image = self.look(frame, whole, whole_size)
            self.follow.update(probability, whole, frame.shape)
        elif region != whole and self.follow.is_due():
            self.follow.check(self.look(frame, whole, whole_size)[0], whole, frame.shape)
        return probability, image, region

    def look(self, frame: np.ndarray, region: Region, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The probability of a region, HxW float32, and its image as the network saw it, HWC uint8 RGB."""
        with self.timing("prepare"):
            image = cv2.cvtColor(take(frame, region, size), cv2.COLOR_BGR2RGB)
            batch = preprocess(image)[None]
        with self.timing("network"):
            logits = self.runtime(batch)
        return sigmoid(logits[0, 0]), image


def segment_picture(
    runtime: Runtime, picture: np.ndarray, size: int = 256, closer: bool = True
) -> np.ndarray:
    """The probability of face, HxW float32, 0..1, of one picture, HWC uint8 BGR.

    closer: look at each face that is small in the picture once more, in a crop about it.
    """
    segmenter = Segmenter(runtime, size)
    whole = whole_frame(*picture.shape[:2], size)
    probability, _ = segmenter.look(picture, *whole)
    full = np.zeros(picture.shape[:2], np.float32)
    paste(probability, whole[0], full)
    if closer:
        for box in find_faces(probability, whole[0], picture.shape):
            crop = crop_about(box, picture.shape, size)
            if is_closer(crop, whole):
                paste(segmenter.look(picture, *crop)[0], crop[0], full)
    return full
