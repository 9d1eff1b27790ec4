"""Reading, the network and showing at the same time, each in a thread of its own.

    with Pipeline(source, segmenter) as results:
        while (result := results.take()) is not None:
            ...                         # in the caller's thread: draw, show, write

The frame rate is that of the slowest stage, not of the sum. Of a live source only the newest frame counts:
what the next stage had no time for is dropped. Of a file every frame comes, in order. What goes wrong in a
thread is raised in the caller's loop, after the results that came before it.
"""

from __future__ import annotations

import threading
import time
from typing import Callable, NamedTuple

import numpy as np

from faces.mask import Mask
from faces.timing import Timing
from media.frames import Frame
from utils import UserError

SILENCE = 20.0  # seconds without any frame of a live source, after which it is given up
IDLE_SECONDS = 0.1  # between two looks at the keys while no result comes
QUEUE = 2  # frames that wait between two stages of a file


class Result(NamedTuple):
    frame: Frame
    mask: Mask


class Closed(Exception):
    """The other end of a channel is not interested any more."""


class Channel:
    """Hands items from one thread to another."""

    def __init__(self, newest: bool):
        """newest: an item that nobody took is replaced by the next; otherwise `put` waits for room."""
        self.newest = newest
        self.items = []
        self.ended = False  # nothing will be put any more
        self.closed = False  # nothing will be taken any more
        self.error = None
        self.changed = threading.Condition()

    def put(self, item: object) -> None:
        """Raises Closed if the taker has gone."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or self.newest or len(self.items) < QUEUE)
            if self.closed:
                raise Closed
            if self.newest:
                self.items.clear()
            self.items.append(item)
            self.changed.notify_all()

    def take(self, wait: float | None = None) -> object | None:
        """The next item; None at the end. Raises the giver's error, or TimeoutError after `wait` seconds."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.items or self.ended or self.closed, wait):
                raise TimeoutError
            if self.items and not self.closed:
                item = self.items.pop(0)
                self.changed.notify_all()
                return item
            if self.error is not None:
                raise self.error
            return None

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will be put, because all is done or because of `error`."""
        with self.changed:
            self.ended, self.error = True, error
            self.changed.notify_all()

    def close(self) -> None:
        """Nothing more will be taken."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()


class Pipeline:
    """The results of a source's frames, to be taken inside `with`."""

    def __init__(self, source, segment: Callable[[np.ndarray], Mask], timing: Timing | None = None):
        """source: see sources.py; it is closed at the end. segment: from HWC uint8 BGR to a Mask."""
        self.source = source
        self.segment = segment
        self.timing = timing or Timing()
        self.frames = Channel(newest=source.live)
        self.results = Channel(newest=source.live)
        self.threads = [
            threading.Thread(target=self._run, args=(stage, output), name=stage.__name__, daemon=True)
            for stage, output in ((self._read, self.frames), (self._segment, self.results))
        ]

    def __enter__(self) -> Pipeline:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error) -> None:
        self.frames.close()
        self.results.close()
        # A thread that waits for a dead camera inside OpenCV cannot be stopped: it does not hold up the end.
        for thread in self.threads:
            thread.join(timeout=2)
        if not self.threads[0].is_alive():
            self.source.close()

    def take(self, idle: Callable[[], bool] = lambda: True) -> Result | None:
        """The next result; None at the end. Raises what went wrong in a thread.

        idle: called now and then while there is nothing to do; the end has come when it gives False.
        """
        silence = SILENCE + (self.source.patience if self.source.live else 0)
        give_up = time.perf_counter() + silence
        while True:
            try:
                return self.results.take(IDLE_SECONDS)
            except TimeoutError:
                if not idle():
                    return None
                if self.source.live and time.perf_counter() > give_up:
                    raise UserError(f"{self.source.name} has given no frame for {silence:.0f} s") from None

    def _run(self, stage: Callable[[], None], output: Channel) -> None:
        try:
            stage()
            output.end()
        except Closed:
            output.end()
        except BaseException as error:  # of any kind: the caller's thread has to know
            output.end(error)

    def _read(self) -> None:
        while True:
            with self.timing("read"):
                frame = self.source.read()
            if frame is None:
                break
            self.frames.put(frame)

    def _segment(self) -> None:
        try:
            while (frame := self.frames.take()) is not None:
                self.results.put(Result(frame, self.segment(frame.image)))
        finally:
            self.frames.close()
