"""The masks of a video, a camera or a stream: follow the faces from frame to frame, then mark each one.

    video = VideoSegmenter(runtime, CenterFace(), size=192, smooth=0.7)
    for frame, mask in video.segment(video.follow(frames)):
        ...

A frame has an `image`, HWC uint8 BGR, and a time, `at`, in seconds. For masks see mask.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from faces.detector import Detector
from faces.follow import Live, LookAhead, TimedFrame
from faces.mask import Mask
from faces.segmenter import SIZE, Segmenter
from faces.tracks import Sighting
from runtimes.runtime import Runtime, Timing

DETECT_EVERY = 16  # frames of a file in one of which the detector runs, or half a second if that is less


class VideoSegmenter:
    """What infer.py shows of one source of frames. `follow` and `segment` may run in two threads."""

    def __init__(
        self,
        runtime: Runtime,
        detector: Detector | None,
        size: int = SIZE,
        smooth: float = 0.0,
        live: bool = False,
        detect_every: int = DETECT_EVERY,
        timing: Timing | None = None,
    ):
        """detector: with None the network is given the whole frame each time. size, smooth: see Segmenter.
        live: of a camera, for which nothing waits; a file is looked at a second ahead.
        """
        self.live = live
        self.segmenter = Segmenter(runtime, size, smooth, timing)
        self.follower = None
        if detector is not None:
            self.follower = Live(detector) if live else LookAhead(detector, detect_every)

    def set_hiding(self, hiding: bool, size: int) -> None:
        """Say whether faces are to be hidden, from the next frames on: then fewer may be missed."""
        self.segmenter.size = size
        if self.follower is not None:
            self.follower.hiding = hiding

    def follow(self, frames: Iterator[TimedFrame]) -> Iterator[tuple[TimedFrame, list[Sighting] | None]]:
        """Yield each frame with the faces in it, a second late for a file. None stands for no detector."""
        if self.follower is None:
            return ((frame, None) for frame in frames)
        return with_error_last(self.follower.follow, frames)

    def segment(
        self, frames: Iterator[tuple[TimedFrame, list[Sighting] | None]]
    ) -> Iterator[tuple[TimedFrame, Mask]]:
        """Yield the mask of each frame that `follow` gave. Raises whatever the runtime raises."""
        return with_error_last(functools.partial(self.segmenter.segment, wait=not self.live), frames)


def with_error_last(stage: Callable[[Iterator], Iterator], items: Iterator) -> Iterator:
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
