"""Reading, the network and showing at the same time, each in a thread of its own.

    status = play_all(Pipeline(source, segmenter), playback, max_frames=None)  # draws, shows, writes

The frame rate is that of the slowest stage, not of the sum. Of a file every frame comes, in order. Of a live
source that is only watched the newest counts, and what the next stage had no time for is dropped; while it is
recorded, frames wait for some seconds, and are dropped only when too many do. What goes wrong in a thread is
raised in the caller's loop, after the results that came before it.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
from tqdm import tqdm

from faces.tracks import Sighting
from faces.video import VideoSegmenter
from media.frames import Frame, Result, Source
from media.playback import Playback
from runtimes.runtime import Timing
from utils import UserError, interrupted_status, log

SILENCE = 20.0  # seconds without any frame of a live source, after which it is given up
LAST_WAIT = 2.0  # seconds that a camera has at the end
IDLE_SECONDS = 0.1  # from one check of the keys to the next while no result comes
QUEUE = 2  # frames that wait between two stages of a file
BUFFER = 384 << 20  # bytes of frames that wait while a live source is recorded: 2 s of 1080p, 14 s of VGA
FROZEN = "gives the same picture again and again: is it stuck or covered?"
FROZEN_SECONDS = 5.0  # a real camera's noise never repeats a frame for so long


class Stage:
    """What a generator yields, computed ahead in a thread of its own."""

    def __init__(self, items: Iterator, room: Callable[[object], int], waits: Callable[[], bool]):
        """room: how many such items may be ready. waits: whether the thread waits while there is no room;
        otherwise every second of those that are ready is dropped, the oldest first.
        """
        self.room, self.waits = room, waits
        self.ready: list = []
        self.dropped = 0  # items
        self.ended = False  # whether nothing more will come
        self.closed = False  # whether nothing more will be taken
        self.error: BaseException | None = None
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, args=[items], name=items.__name__, daemon=True)
        self.thread.start()

    def _run(self, items: Iterator) -> None:
        try:
            for item in items:
                self._put(item)
                if self.closed:
                    break
        except BaseException as error:  # of any kind: the taker has to know
            self.error = error
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _put(self, item: object) -> None:
        with self.changed:
            room = self.room(item)
            self.changed.wait_for(lambda: self.closed or not self.waits() or len(self.ready) < room)
            while len(self.ready) >= room and not self.closed:  # nobody misses what comes after that
                self.dropped += len(self.ready[::2])
                del self.ready[::2]
            self.ready.append(item)
            self.changed.notify_all()

    def take(self, wait: float | None = None) -> object | None:
        """Return the next item, None at the end. Raises the thread's error; TimeoutError after `wait` s."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.ready or self.ended or self.closed, wait):
                raise TimeoutError
            if self.ready:
                self.changed.notify_all()
                return self.ready.pop(0)
            if self.error is not None:
                raise self.error
            return None

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()


class Pipeline:
    """The results of a source's frames, to be taken inside `with`."""

    def __init__(
        self,
        source: Source,
        segmenter: VideoSegmenter,
        timing: Timing | None = None,
        recorded: Callable[[], bool] = lambda: False,
    ):
        """source: is closed at the end. recorded: whether, at this moment, every frame of a live source
        counts.
        """
        self.source, self.segmenter, self.timing = source, segmenter, timing or Timing()
        self.recorded = recorded

    def __enter__(self) -> Pipeline:
        live = self.source.live
        self.frames = Stage(self._read(), self._room, waits=lambda: not live)
        # A file's faces are followed in a thread of their own; a camera's frame must not wait in one more.
        self.sightings = None if live else Stage(self._follow(), lambda item: QUEUE, waits=lambda: True)
        results = 1 if live else QUEUE
        self.results = Stage(self._segment(), lambda result: results, lambda: not live or self.recorded())
        self.stages = [stage for stage in (self.frames, self.sightings, self.results) if stage is not None]
        return self

    def _room(self, frame: Frame) -> int:
        """Return how many such frames may wait."""
        if not self.source.live:
            return QUEUE
        return max(1, BUFFER // frame.image.nbytes) if self.recorded() else 1

    @property
    def dropped(self) -> int:
        """The frames of a live source that were not taken."""
        return self.frames.dropped + self.results.dropped

    def __exit__(self, *error) -> None:
        for stage in self.stages:
            stage.close()
        for stage in self.stages[1:]:
            stage.thread.join()  # in a runtime when Python ends, it would abort the process
        # A thread that waits for a dead camera inside OpenCV cannot be stopped: it does not hold up the end.
        self.frames.thread.join(timeout=LAST_WAIT)
        if not self.frames.thread.is_alive():
            self.source.close()

    def take(self, idle: Callable[[], bool] = lambda: True) -> Result | None:
        """Return the next result; None at the end. Raises what went wrong in a thread.

        idle: called now and then while there is nothing to do; the end has come when it gives False.
        """
        silence = SILENCE + self.source.patience
        give_up = time.perf_counter() + silence
        while True:
            try:
                return self.results.take(IDLE_SECONDS)
            except TimeoutError:
                if not idle():
                    return None
                if self.source.live and time.perf_counter() > give_up:
                    raise UserError(f"{self.source.name} has given no frame for {silence:.0f} s") from None

    def _read(self) -> Iterator[Frame]:
        while True:
            with self.timing("read"):
                frame = self.source.read()
            if frame is None:
                return
            yield frame

    def _follow(self) -> Iterator[tuple[Frame, list[Sighting] | None]]:
        return self.segmenter.follow(iter(self.frames.take, None))

    def _segment(self) -> Iterator[Result]:
        sightings = self._follow() if self.sightings is None else iter(self.sightings.take, None)
        for frame, mask in self.segmenter.segment(sightings):
            yield Result(frame, mask)


def play_all(pipeline: Pipeline, playback: Playback, max_frames: int | None) -> int:
    """Play what comes out of the pipeline. Return the exit status. Raises OSError if writing fails."""
    source, player, status = pipeline.source, playback.player, 0
    finished = False  # whether all that was asked for has come
    still = Still()
    hidden = True if player.window is not None else None  # None: shown in a terminal
    with (
        tqdm(total=max_frames or source.expected, unit=" frames", disable=hidden, leave=False) as bar,
        pipeline,
    ):
        try:
            for result in iter(functools.partial(pipeline.take, player.idle), None):
                if source.live and still(result.frame.image):
                    player.say(f"{source.name} {FROZEN}")
                bar.update()
                warning = f"{source.name} {FROZEN}" if still.warned else ""
                if not playback.play(result, warning) or playback.count == max_frames:
                    break
            else:
                if source.sound is not None:
                    source.sound.ended = not player.ended
            finished = source.live or not player.ended
        except UserError as error:
            log.warning("%s", error)
            status = 1
        except KeyboardInterrupt as error:
            log.warning("interrupted; what was written so far is kept")
            status, finished = interrupted_status(error), source.live
        finally:
            with undisturbed():
                playback.close(finished)
    return status or int(still.warned or playback.failed)


class Still:
    """Notices a live source that gives the same picture again and again."""

    def __init__(self):
        self.before, self.since = None, 0.0  # a few pixels, and since when they are so
        self.warned = False

    def __call__(self, image: np.ndarray) -> bool:
        """Return whether to warn of it: once, until the picture changes. image: HWC uint8 BGR."""
        sample, now = image[::16, ::16].copy(), time.perf_counter()
        if not np.array_equal(sample, self.before):
            self.before, self.since, self.warned = sample, now, False
        first = now - self.since > FROZEN_SECONDS and not self.warned
        self.warned = self.warned or first
        return first


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """While it lasts, Ctrl-C and the like do nothing: a recording is being finished."""
    if threading.current_thread() is not threading.main_thread():  # signals do not interrupt it
        yield
        return
    numbers = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
