"""From frames to masks: follow the faces, cut each one out, give it to the network, smooth what it says.

segmenter = Segmenter(runtime, Detector(), smooth=0.7)
for frame, mask in segmenter.segment(segmenter.follow(frames)):   # for these see follow.py and mask.py
    ...
mask = segment_picture(runtime, Detector(), picture)
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from faces.canvas import FACE_LEVEL, LEVEL, Part, bounds, compose, is_marked, nearest, touching
from faces.crops import Crop, brighten, brightness_gain, crop_frame
from faces.detector import CONFIDENCE, Detector
from faces.follow import DETECT_EVERY, MOST_BYTES, Live, LookAhead, TimedFrame
from faces.mask import Mask
from faces.motion import Place
from faces.smooth import FaceMemory
from faces.tracks import LIFE, Sighting
from runtimes.runtime import Runtime, Timing
from utils import preprocess, sigmoid

CLOSE_UP = 0.6  # of the frame, what a face fills at least that the detector does not know as one ...
STILL_CLOSE = 0.5  # ... and in the frames after that
FEW = 4  # faces in a frame of a video of which the network is given each; of more they take turns, ...
MOST_TURNS = 3  # ... but each is given to it in every third frame at least
BATCH = 16  # crops that the network is given at once
SIZE = 224  # pixels: the longest side of the network's input


class Segmenter:
    """The masks of one source of frames. `follow` and `segment` may run in two threads."""

    def __init__(
        self,
        runtime: Runtime,
        detector: Detector | None = None,
        size: int = SIZE,
        smooth: float = 0.0,
        live: bool = False,
        detect_every: int = DETECT_EVERY,
        timing: Timing | None = None,
    ):
        """detector: with None the network is given the whole frame each time. size: longest side of the
        network's input, a multiple of 32. smooth: 0 (off) to below 1. live: of a camera, for which nothing
        waits; a file is looked at a second ahead.
        """
        self.runtime, self.size, self.smooth, self.live = runtime, size, smooth, live
        self.timing = timing or Timing()
        self.follower, self.hiding = None, False
        if detector is not None:
            self.follower = Live(detector) if live else LookAhead(detector, detect_every)
        self.faces: dict[int, FaceMemory] = {}  # by the track's number
        self.count = 0  # of frames with faces
        self.close_up: FaceMemory | None = None  # a face that the detector does not see

    def set_hiding(self, hiding: bool, size: int) -> None:
        """Say whether faces are to be hidden, from the next frames on: then fewer may be missed."""
        self.size, self.hiding = size, hiding
        if self.follower is not None:
            self.follower.hiding = hiding

    def follow(self, frames: Iterator[TimedFrame]) -> Iterator[tuple[TimedFrame, list[Sighting] | None]]:
        """Yield each frame with the faces in it, a second late for a file. None stands for no detector."""
        if self.follower is None:
            return ((frame, None) for frame in frames)
        return _with_error_last(self.follower.follow, frames)

    def segment(
        self, frames: Iterator[tuple[TimedFrame, list[Sighting] | None]]
    ) -> Iterator[tuple[TimedFrame, Mask]]:
        """Yield the mask of each frame that `follow` gave. Raises whatever the runtime raises.

        Of a face of which nothing is marked for some frames, the mask of the frames before is carried along,
        for up to half a second; where there is none, that of the frames after, but for a camera.
        """
        return _with_error_last(self._segment, frames)

    def _segment(self, frames: Iterator) -> Iterator[tuple[TimedFrame, Mask]]:
        held: deque[tuple[TimedFrame, list[Part]]] = deque()
        for frame, sightings in frames:
            held.append((frame, self.parts(frame.image, sightings, frame.at)))
            _carry_back(held)
            most = max(1, MOST_BYTES // max(1, frame.image.nbytes))
            while held and (self.live or len(held) > most or not _is_waiting(*held[0], frame.at)):
                yield self._composed(*held.popleft())
        yield from itertools.starmap(self._composed, held)

    def parts(self, frame: np.ndarray, sightings: list[Sighting] | None, at: float) -> list[Part]:
        """Return what is marked of each face; without any, of a close-up.

        frame: HWC uint8 BGR. sightings: None stands for no detector: the network is given the whole frame.
        """
        if not sightings:
            self.faces.clear()
            return self.parts_of_whole(frame, is_close_up=sightings is not None)
        size, self.close_up = self.size, None
        self.count += 1
        turns = min(MOST_TURNS, -(-len(sightings) // FEW))
        self.faces = {each.track: self.faces.get(each.track) or FaceMemory(self.smooth) for each in sightings}
        looks = []
        for index, (sighting, memory) in enumerate(zip(sightings, self.faces.values())):
            crop = memory.next_crop(sighting.place, frame.shape, size)
            image = self.cut(frame, crop, memory)
            moved = None
            if memory.is_seen and (index + self.count) % turns:
                with self.timing("smooth"):
                    moved = memory.move_along(image, crop)
            looks.append((sighting, memory, crop, image, moved))
        marked = iter(self.run_network([image for *_, image, moved in looks if moved is None]))
        parts = []
        for sighting, memory, crop, image, probability in looks:
            box = crop.to_image(sighting.place.box)
            if probability is None:
                probability = touching(next(marked), box)
                if is_marked(probability > FACE_LEVEL, box):  # else the face would fade out, and in again
                    with self.timing("smooth"):
                        smoothed = memory.smooth(probability, image, crop)
                    # Where the motion is mistaken, smoothing takes from a face what is to be hidden.
                    probability = np.maximum(smoothed, probability) if self.hiding else smoothed
            levels = to_levels(probability)
            others = [crop.to_image(each.place.box) for each in sightings if each is not sighting]
            part = Part(sighting, crop, box, levels, nearest(levels, box, others))
            memory.is_seen = part.is_seen
            if part.is_seen:
                memory.seen = part, at
            elif memory.seen is not None and at - memory.seen[1] <= LIFE and not sighting.expected:
                part = part.carried_from(memory.seen[0])
            parts.append(part)
        return parts

    def parts_of_whole(self, frame: np.ndarray, is_close_up: bool) -> list[Part]:
        """Return what the network marks in the whole frame, HWC uint8 BGR: a face with the number 0, or none.

        is_close_up: a detector saw nothing, so that it counts only where it may be a face that is too close.
        """
        memory = self.close_up or FaceMemory(self.smooth)
        limit = CLOSE_UP if self.close_up is None else STILL_CLOSE
        crop = crop_frame(frame.shape, self.size)
        image = self.cut(frame, crop, memory)
        (probability,) = self.run_network([image])
        self.close_up = None
        if is_close_up and (probability > FACE_LEVEL).mean() < limit:
            return []
        self.close_up = memory
        with self.timing("smooth"):
            levels = to_levels(memory.smooth(probability, image, crop))
        region, marked = crop.paste(levels, frame.shape)
        box = bounds(marked, LEVEL).moved(region.left, region.top)
        sighting = Sighting(0, Place.of(box), 0.0)
        return [Part(sighting, crop, crop.to_image(box), levels, levels)] if box.width else []

    def cut(self, frame: np.ndarray, crop: Crop, memory: FaceMemory) -> np.ndarray:
        """Return what the network is shown of a frame, HWC uint8 BGR: HWC uint8 RGB, brightened."""
        with self.timing("prepare"):
            image = cv2.cvtColor(crop.cut(frame), cv2.COLOR_BGR2RGB)
            return brighten(image, memory.next_gain(brightness_gain(image)))

    def run_network(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Return the probability of face in each image, HWC uint8 RGB, as HxW float32.

        Images of one size go through the network together.
        """
        results = {}
        for size in sorted({image.shape for image in images}):
            members = [index for index, image in enumerate(images) if image.shape == size]
            for start in range(0, len(members), BATCH):
                part = members[start : start + BATCH]
                with self.timing("prepare"):
                    batch = np.stack([preprocess(images[index]) for index in part])
                with self.timing("network"):
                    logits = self.runtime(batch)
                results.update({index: sigmoid(each[0]) for index, each in zip(part, logits)})
        return [results[index] for index in range(len(images))]

    def _composed(self, frame: TimedFrame, parts: list[Part]) -> tuple[TimedFrame, Mask]:
        with self.timing("mask"):
            return frame, compose(frame.image.shape, parts)


def _with_error_last(stage: Callable[[Iterator], Iterator], items: Iterator) -> Iterator:
    """Yield what the stage makes of the items; an error in these is raised after all that came before."""
    errors = []

    def until_error() -> Iterator:
        try:
            yield from items
        except Exception as error:  # of any kind: it is raised below
            errors.append(error)

    yield from stage(until_error())
    if errors:
        raise errors[0]


def to_levels(probability: np.ndarray) -> np.ndarray:
    """Return a probability, 0..1, as uint8, 0 to 255."""
    return (probability * 255 + 0.5).astype(np.uint8)


def _carry_back(held: deque) -> None:
    """Give faces of which nothing is marked in earlier frames the mask that they have in the newest."""
    newest, parts = held[-1]
    seen = {part.sighting.track: part for part in parts if part.is_seen}
    for frame, earlier in list(held)[:-1]:
        for index, part in enumerate(earlier):
            missing = part.sighting.track in seen and not (part.is_seen or part.sighting.expected)
            if missing and newest.at - frame.at <= LIFE:
                earlier[index] = part.carried_from(seen[part.sighting.track])


def _is_waiting(frame: TimedFrame, parts: list[Part], now: float) -> bool:
    """Whether a later frame may still tell what is marked of a face in this one."""
    return now - frame.at <= LIFE and not all(part.is_seen or part.sighting.expected for part in parts)


def segment_picture(
    runtime: Runtime,
    detector: Detector | None,
    picture: np.ndarray,
    size: int = SIZE,
    timing: Timing | None = None,
) -> Mask:
    """Return the mask of one picture, HWC uint8 BGR; its faces are numbered from the surest one.

    detector: with None the network is given the whole picture.
    """
    segmenter = Segmenter(runtime, size=size, timing=timing)
    sightings = None
    if detector is not None:
        with segmenter.timing("detect"):
            detections = detector.detect(picture, turned=True)
        sure = (each for each in detections if each.confidence >= CONFIDENCE)
        sightings = [
            Sighting(number, Place.of(each.box, each.angle), each.confidence)
            for number, each in enumerate(sure, 1)
        ]
    parts = segmenter.parts(picture, sightings, 0.0)
    with segmenter.timing("mask"):
        return compose(picture.shape, parts)
