"""What is remembered of a face from frame to frame, so that nothing flickers: its crop, light, and mask.

A network that judges each frame alone lets the mask's edge flicker. Here each mask is blended with the one
before, moved along by the optical flow between the two images (DIS: Kroeger et al., "Fast Optical Flow using
Dense Inverse Search", ECCV 2016). Where the moved image does not match the new one (something was uncovered,
moved too fast, or the light changed), the old mask has no weight, so that nothing trails behind.
"""

from __future__ import annotations

import cv2
import numpy as np

from faces.canvas import Part
from faces.crops import SMALLEST, Crop, between, crop_face, steady
from faces.motion import Place

TRUSTED = 0.5  # of a mask, what must lie where its image still fits, so that it may be moved along unseen
CHANGE = 10.0  # grey levels of difference at which the old mask's weight has fallen to 37%
NEIGHBOURS = 5  # pixels over which the difference is averaged, so that camera noise does not count as change
ADAPTS = 0.1  # of a change of the light, what the brightening follows from one frame to the next


class FaceMemory:
    """What is remembered of one face."""

    def __init__(self, strength: float):
        """strength: 0 (off) to below 1: the weight of the mask before, where nothing changed."""
        if not 0 <= strength < 1:
            raise ValueError(f"the smoothing is {strength}; it must be from 0 to below 1")
        self.strength = strength
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self.flow.setFinestScale(1)  # the preset's 2 is too coarse for images as small as these
        self.before = None  # (probability, half-size grey image, crop)
        self.crop: Crop | None = None
        self.size = 0  # the largest for that crop
        self.gain: float | None = None  # of its brightening
        self.seen: tuple[Part, float] | None = None  # when enough of it was marked last
        self.is_seen = False  # whether it was in the last frame

    def next_crop(self, place: Place, shape: tuple, size: int) -> Crop:
        """Return the crop around a place in a frame of `shape`, or the last one if that still serves."""
        crop = crop_face(place.box, place.angle, shape, size, SMALLEST)
        self.crop, self.size = steady(self.crop, crop) if size == self.size else crop, size
        return self.crop

    def next_gain(self, gain: float) -> float:
        self.gain = gain if self.gain is None else self.gain + ADAPTS * (gain - self.gain)
        return self.gain

    def smooth(self, probability: np.ndarray, image: np.ndarray, crop: Crop) -> np.ndarray:
        """Return the smoothed probability, HxW float32, 0..1, as it is given.

        image: what the network saw, HxWx3 uint8 RGB. crop: where in the frame; its size may change.
        """
        if not self.strength:
            return probability
        grey = _half_grey(image)
        if self.before is not None:
            old_mask, weight = self._moved(grey, crop)
            probability = probability + self.strength * weight * (old_mask - probability)
        self.before = probability, grey, crop
        return probability

    def move_along(self, image: np.ndarray, crop: Crop) -> np.ndarray | None:
        """Return the mask before moved to where its image is now, for a frame that the network is not given;
        None where there is none, or it does not fit the new image. image, crop: as above.
        """
        if self.before is None:
            return None
        grey = _half_grey(image)
        old_mask, weight = self._moved(grey, crop)
        if (old_mask * weight).sum() < TRUSTED * old_mask.sum():
            return None
        self.before = old_mask, grey, crop
        return old_mask

    def _moved(self, grey: np.ndarray, crop: Crop) -> tuple[np.ndarray, np.ndarray]:
        """Return the old mask moved to where its image is now, and how well it fits, both HxW float32."""
        mask, old_grey, old = self.before
        height, width = crop.size
        if old != crop:
            mask = _warp(mask, old, crop)
            old_grey = _warp(old_grey, old._replace(size=old_grey.shape), crop._replace(size=grey.shape))
        flow = self.flow.calc(grey, old_grey, None)  # from a place now to the same thing's place before
        difference = cv2.absdiff(grey, _moved_back(old_grey, flow)).astype(np.float32)
        difference = cv2.blur(difference, (NEIGHBOURS, NEIGHBOURS))
        weight = np.exp(-((difference / CHANGE) ** 2))
        flow = cv2.resize(flow, (width, height)) * (width / grey.shape[1])
        return _moved_back(mask, flow), cv2.resize(weight, (width, height))


def _half_grey(image: np.ndarray) -> np.ndarray:
    """Return HxW uint8 of half the size of an RGB image."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)


def _warp(image: np.ndarray, old: Crop, new: Crop) -> np.ndarray:
    """Return the image of one crop as another one shows it; outside the old image there was nothing: 0."""
    matrix, flags = between(new, old).astype(np.float32), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, new.size[::-1], flags=flags)


def _moved_back(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return an image of whose pixels each comes from where the flow, HxWx2 float32 (x, y), leads from it."""
    rows, columns = (np.arange(side, dtype=np.float32) for side in flow.shape[:2])
    places = np.dstack(np.meshgrid(columns, rows)) + flow
    return cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
