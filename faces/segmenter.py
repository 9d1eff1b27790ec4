"""From a frame to its mask: find the faces, look at each one closely, smooth what is seen.

    segmenter = Segmenter(runtime, Detector(), Settings(size=224), smooth=0.7, rate=25)
    for frame in frames:                                      # HWC uint8 BGR
        mask = segmenter(frame)                               # see mask.py

    mask = segment_picture(runtime, Detector(photo=True), picture, size=224)

Between two runs of the detector each face is followed by its own mask.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from faces.crops import Crop, brighten, crop_about, in_crop, in_frame, steady, take, whole_frame
from faces.detector import Detection, Detector
from faces.mask import Mask, Region
from faces.parts import FACE_LEVEL, Canvas, bounds, nearest, touching
from faces.schedule import EveryNth, InBackground
from faces.tracks import Track, Tracks
from runtimes.timing import Timing
from utils import preprocess, sigmoid

Runtime = Callable[[np.ndarray], np.ndarray]
CLOSE_UP = 0.3  # of the frame, what a face fills at least that the detector does not know as one ...
STILL_CLOSE = 0.25  # ... and in the frames after that
SHOWN = 0.1  # of its box, what the mask of a face that is in sight fills at least
BATCH = 16  # crops that the network is given at once
DETECT_EVERY = 24  # frames: so the detector takes less than a fifth of the time
TURNS = (0, 1, 3, 2)  # by so many quarters a photo is turned until a face is found: upside down is rarest
SURE = 0.95  # confidence of a face in a turned photo, at least: most photos without a face are no turned ones


class Settings(NamedTuple):
    """What may change from one frame to the next."""

    size: int = 224  # the longest side of the network's input, a multiple of 32
    detect_every: int = (
        DETECT_EVERY  # frames; beside a camera the detector runs when it has time, with 1 always
    )
    smallest: int = 96  # as `size`, of a small face's crop


DEFAULTS = Settings()


class Segmenter:
    """The masks of one stream of frames. Not for use by several threads at once, but another thread may
    replace the `settings`: that is heeded from the next frame on.
    """

    def __init__(
        self,
        runtime: Runtime,
        detector: Detector | None,
        settings: Settings = DEFAULTS,
        smooth: float = 0.0,
        rate: float | None = 25.0,
        timing: Timing | None = None,
    ):
        """detector: with None the network is given the whole frame each time. smooth: 0 (off) to below 1.
        rate: frames/s of a file; None is a camera, beside which the detector runs in a thread of its own.
        """
        self.runtime = runtime
        self.settings = settings
        self.rate = rate
        self.timing = timing or Timing()
        self.tracks = Tracks(smooth)
        self.close_up: Track | None = None  # a face that the detector does not see
        self.schedule = None
        if detector is not None:
            self.schedule = InBackground(detector) if rate is None else EveryNth(detector)
        self.before = settings  # of the last frame
        self.count = 0  # of frames

    def __call__(self, frame: np.ndarray) -> Mask:
        """Return the mask of the next frame, HWC uint8 BGR. Raises whatever the runtime raises."""
        settings = self.settings
        now = time.perf_counter() if self.rate is None else self.count / self.rate
        self.count += 1
        if self.schedule is not None:
            with self.timing("find"):
                self.schedule(frame, self.tracks, settings.detect_every, now)
        return self.see(frame, settings, now) if self.tracks else self.see_whole(frame, settings, now)

    def see(self, frame: np.ndarray, settings: Settings, now: float) -> Mask:
        """Return the mask of the tracks' faces, and tell the tracks where these are now."""
        self.close_up = None
        for track in self.tracks:
            before = track.crop if settings == self.before else None
            crop = crop_about(track.box, frame.shape, settings.size, settings.smallest)
            track.crop = steady(before, crop)
        self.before = settings
        boxes = [track.box for track in self.tracks]
        canvas = Canvas(frame.shape)
        for track, (image, probability) in zip(
            self.tracks, self.look(frame, [track.crop for track in self.tracks])
        ):
            box, *others = (in_crop(each, track.crop) for each in (track.box, *boxes))
            levels = self.smoothed(track, touching(probability, box), image)
            with self.timing("mask"):
                own = nearest(levels, box, others)
                inside = bounds(own, 127)
                if np.count_nonzero(own > 127) > SHOWN * box.width * box.height:
                    track.follow(in_frame(inside, track.crop), now)
                if track.seen == now:
                    canvas.add(track, levels, own)
                elif settings.detect_every == 1:  # to hide faces: its place is known
                    nothing = np.zeros_like(levels)
                    canvas.add(track, nothing, nothing)
        self.tracks.end_lost(now)
        return canvas.mask()

    def see_whole(self, frame: np.ndarray, settings: Settings, now: float) -> Mask:
        """Return what the network sees of the whole frame. With a detector, which saw nothing, it counts
        only where it may be a face that is too close to be known as one.
        """
        canvas = Canvas(frame.shape)
        crop = whole_frame(frame.shape, settings.size)
        ((image, probability),) = self.look(frame, [crop])
        limit = CLOSE_UP if self.close_up is None else STILL_CLOSE
        if self.schedule is not None and (probability > FACE_LEVEL).mean() < limit:
            self.close_up = None
            return canvas.mask()
        if self.close_up is None:
            self.close_up = self.tracks.new(Detection(crop.region, 0.0), now)
        self.close_up.crop = crop
        levels = self.smoothed(self.close_up, probability, image)
        with self.timing("mask"):
            self.close_up.box = in_frame(bounds(levels, 127), crop)
            canvas.add(self.close_up, levels, levels)
            mask = canvas.mask()
        return mask if levels.max() > 127 else mask._replace(faces=())

    def look(self, frame: np.ndarray, crops: list[Crop]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return each crop's image as the network saw it, HWC uint8 RGB, and the probability of face there,
        HxW float32. Crops of one size go through the network together.
        """
        with self.timing("prepare"):
            images = [cv2.cvtColor(brighten(take(frame, crop)), cv2.COLOR_BGR2RGB) for crop in crops]
        looks = {}
        for size in sorted({crop.size for crop in crops}):
            members = [index for index, crop in enumerate(crops) if crop.size == size]
            for start in range(0, len(members), BATCH):
                part = members[start : start + BATCH]
                with self.timing("prepare"):
                    batch = np.stack([preprocess(images[index]) for index in part])
                with self.timing("network"):
                    logits = self.runtime(batch)
                looks.update({index: (images[index], sigmoid(each[0])) for index, each in zip(part, logits)})
        return [looks[index] for index in range(len(crops))]

    def smoothed(self, track: Track, probability: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Return the probability smoothed over time, HxW uint8, 0 to 255."""
        with self.timing("smooth"):
            probability = track.smooth(probability, image, track.crop)
        return (probability * 255 + 0.5).astype(np.uint8)


def segment_picture(
    runtime: Runtime,
    detector: Detector | None,
    picture: np.ndarray,
    size: int = 224,
    timing: Timing | None = None,
) -> Mask:
    """Return the mask of one picture, HWC uint8 BGR; its faces are numbered from the surest one.

    detector: with None the network is given the whole picture. A picture in which no face is found is turned
    by a quarter, as one that a telephone held upright may be, and so on.
    """
    settings = Settings(size, smallest=160)  # a little better, and there is time for it
    segmenter = Segmenter(runtime, detector, settings, timing=timing)
    if detector is None:
        return segmenter.see_whole(picture, settings, 0.0)
    with segmenter.timing("find"):
        turns, found = detect_turned(detector, picture)
    segmenter.tracks.update(found, 0.0)
    turned = np.ascontiguousarray(np.rot90(picture, turns))
    see = segmenter.see if found else segmenter.see_whole
    return turned_back(see(turned, settings, 0.0), turns)


def detect_turned(detector: Detector, picture: np.ndarray) -> tuple[int, list[Detection]]:
    """Return by how many quarters a picture is turned, as by numpy.rot90, to find faces; and these."""
    for turns in TURNS:
        found = detector(np.ascontiguousarray(np.rot90(picture, turns)))
        if found and (turns == 0 or found[0].confidence >= SURE):
            return turns, found
    return 0, []


def turned_back(mask: Mask, turns: int) -> Mask:
    """Return the mask of a picture from that of the picture turned by so many quarters."""
    for _ in range(turns):
        width = mask.probability.shape[0]  # of the picture that is turned once less
        faces = [
            face._replace(
                box=_quarter_back(face.box, width),
                region=_quarter_back(face.region, width),
                mask=np.rot90(face.mask, -1),
            )
            for face in mask.faces
        ]
        probability = np.ascontiguousarray(np.rot90(mask.probability, -1))
        mask = Mask(probability, _quarter_back(mask.region, width), tuple(faces))
    return mask


def _quarter_back(region: Region, width: int) -> Region:
    return Region(width - region.bottom, region.left, width - region.top, region.right)
