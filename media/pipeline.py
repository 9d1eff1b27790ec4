"""Reading, the network and showing at the same time, each in a thread of its own.

    status = play_all(Pipeline(source, segmenter), playback, max_frames=None)  # draws, shows, writes

Of a file every frame comes, in order. Of a live source that is only watched the newest counts, and what the
next stage had no time for is dropped; while it is recorded, frames wait for some seconds, and are dropped
only when too many do. What goes wrong in a thread is raised in the caller, after the results before it.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import starmap

import numpy as np
from tqdm import tqdm

from faces.segmenter import Segmenter
from media.frames import Frame, Result, Source
from media.player import Playback
from runtimes.runtime import Timing
from utils import UserError, interrupted_status, log

SILENCE = 20.0  # seconds without any frame of a live source, after which it is given up
LAST_WAIT = 2.0  # seconds that a camera has at the end
IDLE_SECONDS = 0.1  # from one check of the keys to the next while no result comes
QUEUE = 2  # frames that wait between two stages of a file
BUFFER = 384 << 20  # bytes of frames that wait while a live source is recorded: 2 s of 1080p, 14 s of VGA
FROZEN_SECONDS = 5.0  # a real camera's noise never repeats a frame for so long


class Stage:
    """What an iterator yields, computed ahead in a thread of its own."""

    def __init__(self, items: Iterator, room: Callable[[object], int], waits: Callable[[], bool]):
        """room: how many such items may be ready. waits: whether the thread waits while there is no room;
        otherwise every second of those that are ready is dropped, the oldest first.
        """
        self.room, self.waits = room, waits
        self.ready: list = []
        self.dropped = 0  # items
        self.ended = False  # whether nothing more will come, or be taken
        self.error: BaseException | None = None
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, args=[items], daemon=True)
        self.thread.start()

    def _run(self, items: Iterator) -> None:
        try:
            for item in items:
                self._put(item)
                if self.ended:
                    break
        except BaseException as error:  # of any kind: the taker has to know
            self.error = error
        self.close()

    def _put(self, item: object) -> None:
        with self.changed:
            room = self.room(item)
            self.changed.wait_for(lambda: self.ended or not self.waits() or len(self.ready) < room)
            while len(self.ready) >= room and not self.ended:  # nobody misses what comes after that
                self.dropped += len(self.ready[::2])
                del self.ready[::2]
            self.ready.append(item)
            self.changed.notify_all()

    def take(self, wait: float | None = None) -> object | None:
        """Return the next item, None at the end. Raises the thread's error; TimeoutError after `wait` s."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.ready or self.ended, wait):
                raise TimeoutError
            if self.ready:
                self.changed.notify_all()
                return self.ready.pop(0)
            if self.error is not None:
                raise self.error
            return None

    def close(self) -> None:
        with self.changed:
            self.ended = True
            self.changed.notify_all()


class Pipeline:
    """The results of a source's frames. At the end of its `with` the threads end."""

    def __init__(
        self,
        source: Source,
        segmenter: Segmenter,
        timing: Timing | None = None,
        recorded: Callable[[], bool] = lambda: False,
    ):
        """source: is closed at the end. recorded: whether now every frame of a live source counts."""
        self.source, self.timing, self.recorded = source, timing or Timing(), recorded
        self.frames = Stage(self._read(), self._room, lambda: not source.live)
        self.stages = [self.frames]
        items = segmenter.follow(iter(self.frames.take, None))
        if not source.live:  # a camera's frame must not wait in one more thread
            self.stages.append(Stage(items, self._room, lambda: True))
            items = iter(self.stages[-1].take, None)
        results, room = starmap(Result, segmenter.segment(items)), 1 if source.live else QUEUE
        self.results = Stage(results, lambda result: room, lambda: not source.live or recorded())
        self.stages.append(self.results)

    def __enter__(self) -> Pipeline:
        return self

    def _read(self) -> Iterator[Frame]:
        while True:
            with self.timing("read"):
                frame = self.source.read()
            if frame is None:
                return
            yield frame

    def _room(self, frame: Frame | tuple) -> int:
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


def play_all(pipeline: Pipeline, playback: Playback, max_frames: int | None) -> int:
    """Play what comes out of the pipeline. Return the exit status. Raises OSError if writing fails."""
    source, player, status = pipeline.source, playback.player, 0
    finished = False  # whether all that was asked for has come
    still, frozen = Still(), False
    hidden = True if player.window is not None else None  # None: shown in a terminal
    bar = tqdm(total=max_frames or source.expected, unit=" frames", disable=hidden, leave=False)
    with bar, pipeline:
        try:
            for result in iter(functools.partial(pipeline.take, player.idle), None):
                before, frozen = frozen, source.live and still(result.frame.image)
                if frozen and not before:
                    player.say(f"{source.name} gives the same picture again and again: stuck or covered?")
                bar.update()
                if not playback.play(result) or playback.count == max_frames:
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
    cut_off = playback.recorded() and not finished  # the user ended it
    return status or int(frozen or playback.failed or cut_off)


class Still:
    """Notices a camera that gives the same picture again and again."""

    def __init__(self):
        self.pixels, self.since = None, 0.0  # a few of the picture, and since when they are so

    def __call__(self, image: np.ndarray) -> bool:
        """Return whether it does now. image: HWC uint8 BGR, the next one."""
        pixels = image[::16, ::16].copy()
        if not np.array_equal(pixels, self.pixels):
            self.pixels, self.since = pixels, time.perf_counter()
        return time.perf_counter() - self.since > FROZEN_SECONDS


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """While it lasts, Ctrl-C and the like do nothing: a recording is being finished."""
    numbers = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():  # signals do not interrupt it
        numbers = ()
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
