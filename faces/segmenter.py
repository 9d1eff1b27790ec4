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

from faces.follow import Follow, crop_about, is_closer
from faces.mask import Mask, Region
from faces.parts import FACE_LEVEL, Face, confirms, find_faces, iou, keep
from faces.regions import paste, take, whole_frame
from faces.smooth import Smooth
from faces.timing import Timing
from utils import preprocess, sigmoid

Runtime = Callable[[np.ndarray], np.ndarray]
FAINT = 12  # of 255: what is less probable than this counts as nothing
VALID = 30  # frames for which the verdict on what looks like a face from afar stands
LOOKS = 2  # closer looks for such verdicts in one frame, at most
FINER = 2  # times the network's size: how a frame is looked at in which no face is seen
FULL = 0.65  # of a crop: no face fills more of a crop that was made for it


class Verdict(NamedTuple):
    """Whether what looks like a face from afar is one, and the frame until which this stands."""

    box: Region
    is_face: bool
    until: int


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
    occupied = occupied.inside(shape[0], shape[1])
    if not (occupied.width and occupied.height):  # all of it in the bars beside the frame
        return Mask(full, Region(0, 0, 0, 0))
    return Mask(full, occupied)


def finer_frame(shape: tuple, size: int) -> tuple[Region, tuple[int, int]] | None:
    """The whole frame, and FINER times the network's (height, width) for it; None where it shows no more."""
    return whole_frame(shape[0], shape[1], FINER * size) if max(shape[:2]) > size else None


class Segmenter:
    """The masks of one stream of frames. Not for use by several threads at once."""

    def __init__(
        self,
        runtime: Runtime,
        size: int = 256,
        follow: bool = True,
        smooth: float = 0.0,
        timing: Timing | None = None,
        level: float = FACE_LEVEL,
    ):
        """size: the longest side of the network's input. smooth: 0 (off) to below 1. level: see
        faces.find_faces.
        """
        self.runtime = runtime
        self.size = size
        self.level = level
        self.follow = Follow(size) if follow else None
        self.smooth = Smooth(smooth)
        self.timing = timing or Timing()
        self.shape: tuple | None = None  # of the last frame
        self.count = 0  # of frames
        self.looked_finer = -np.inf  # the frame in which a small face was looked for
        self.verdicts: list[Verdict] = []

    def check_whole_frame(self, every: int) -> None:
        """While faces are followed, look at the whole frame after so many frames, for faces that come in."""
        if self.follow is not None:
            self.follow.check_every = every

    def set_size(self, size: int) -> None:
        """From the next frame on, the longest side of the network's input."""
        self.size = size
        if self.follow is not None:
            self.follow.long_side = size

    def __call__(self, frame: np.ndarray) -> Mask:
        """frame: HWC uint8 BGR. Raises whatever the runtime raises."""
        if frame.shape != self.shape:  # streams may change it
            self.shape, self.verdicts, self.looked_finer = frame.shape, [], -np.inf
            self.smooth.reset()
            if self.follow is not None:
                self.follow.reset()
        self.count += 1
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
        whole = whole_frame(*frame.shape[:2], self.size)
        region, size = self.follow.next_region(frame.shape)
        probability, image = self.look(frame, region, size)
        faces = find_faces(probability, region, frame.shape, self.level)
        if region == whole[0]:
            faces = self._judged(frame, faces, whole)
        elif not faces or sum(face.inside.mean() for face in faces) > FULL:
            # The face left the crop, or it was none: look for faces in this same frame.
            region = whole[0]
            probability, image = self.look(frame, *whole)
            faces = self._judged(frame, find_faces(probability, region, frame.shape, self.level), whole)
        finer = None if faces else self._finer_frame_if_due(frame.shape)
        if finer is not None:
            self.looked_finer = self.count
            region = finer[0]
            probability, image = self.look(frame, *finer)
            faces = find_faces(probability, region, frame.shape, self.level)
            # One as large as this would have been seen before.
            small = [f for f in faces if is_closer(crop_about(f.box, frame.shape, self.size), finer)]
            faces = self._judged(frame, small, finer)
        self.follow.update(faces, region, frame.shape)
        if self.follow.is_due():
            seen = find_faces(self.look(frame, *whole)[0], whole[0], frame.shape, self.level)
            self.follow.check(self._judged(frame, seen, whole))
        return keep(probability, faces), image, region

    def _finer_frame_if_due(self, shape: tuple) -> tuple[Region, tuple[int, int]] | None:
        """See `finer_frame`. As it costs four times as much as a look, it is due in the first frame without a
        face, and then as often as the whole frame is looked at while faces are followed.
        """
        if self.count - self.looked_finer < self.follow.check_every:
            return None
        return finer_frame(shape, self.size)

    def _judged(self, frame: np.ndarray, faces: list[Face], whole: tuple) -> list[Face]:
        """Those of the faces found in the whole frame that a closer look confirms, now or a moment ago."""
        known = [verdict for verdict in self.verdicts if verdict.until > self.count]
        # Those that a second look at this frame does not show again still stand.
        self.verdicts = [old for old in known if not any(iou(old.box, face.box) > 0.5 for face in faces)]
        looks, confirmed = 0, []
        for face in faces:
            crop = crop_about(face.box, frame.shape, self.size)
            if not is_closer(crop, whole):
                confirmed.append(face)
                continue
            verdict = next((old for old in known if iou(old.box, face.box) > 0.5), None)
            if verdict is None and looks == LOOKS:  # its turn comes in the next frames
                confirmed.append(face)
                continue
            if verdict is None:
                looks += 1
                seen = self.look(frame, *crop)[0]
                is_face = confirms(seen, crop[0], face.box, frame.shape, self.level) is not None
                verdict = Verdict(face.box, is_face, self.count + VALID)
            self.verdicts.append(verdict._replace(box=face.box))
            if verdict.is_face:
                confirmed.append(face)
        return confirmed

    def look(self, frame: np.ndarray, region: Region, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The probability of a region, HxW float32, and its image as the network saw it, HWC uint8 RGB."""
        with self.timing("prepare"):
            image = cv2.cvtColor(take(frame, region, size), cv2.COLOR_BGR2RGB)
            batch = preprocess(image)[None]
        with self.timing("network"):
            logits = self.runtime(batch)
        return sigmoid(logits[0, 0]), image


def segment_picture(
    runtime: Runtime, picture: np.ndarray, size: int = 256, closer: bool = True, level: float = FACE_LEVEL
) -> np.ndarray:
    """The probability of face, HxW float32, 0..1, of one picture, HWC uint8 BGR.

    closer: look once more, in a crop, at each face that is small in the picture; what is none from nearby,
    specks, and what reaches the probability `level` nowhere are left out. Where no face is seen, the picture
    is looked at once more at twice the size.
    """
    segmenter = Segmenter(runtime, size)
    whole = whole_frame(*picture.shape[:2], size)
    full = np.zeros(picture.shape[:2], np.float32)
    if not closer:
        paste(segmenter.look(picture, *whole)[0], whole[0], full)
        return full
    for frame in filter(None, (whole, finer_frame(picture.shape, size))):
        probability, _ = segmenter.look(picture, *frame)
        for face in find_faces(probability, frame[0], picture.shape, level):
            seen, region = probability, frame[0]
            crop = crop_about(face.box, picture.shape, size)
            if is_closer(crop, frame):
                seen, region = segmenter.look(picture, *crop)[0], crop[0]
                face = confirms(seen, region, face.box, picture.shape, level)
            elif frame != whole:  # a face as large as this would have been seen before
                continue
            if face is not None:
                one = np.zeros_like(full)
                paste(keep(seen, [face]), region, one)
                np.maximum(full, one, out=full)
        if full.any():
            break
    return full
