"""What happens to the results: they are drawn, written, and shown in the window, where keys steer it.

player = Player([("overlay", view)], threshold=0.5)
player.begin(source, sinks=[VideoWriter("out.mp4", source.rate)])
while player.play(result):
    ...
player.close()
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np

from files.pictures import write_image
from media.frames import Result, Source
from media.table import FaceTable
from media.views import View, to_bgr, to_rgb
from media.window import HELP, Window, draw_lines
from media.writers import VideoWriter, VirtualCamera
from runtimes.timing import Timing
from utils import UserError, resize

THRESHOLD_STEP = 0.05
LARGEST = (800, 1440)  # (height, width) of what is shown; written is all of it
NOTICE_SECONDS = 3.0  # how long a notice stays in the picture


class Player:
    """Draws, writes and shows results one by one. To be used in the main thread."""

    def __init__(
        self,
        views: list[tuple[str, View]],
        threshold: float,
        window: Window | None = None,
        folder: str | Path = "output",
        timing: Timing | None = None,
        table: FaceTable | None = None,
    ):
        """views: the first is shown, v goes on to the next. folder: for what the keys s and r write."""
        self.views, self.threshold = list(views), threshold
        self.window, self.folder, self.table = window, Path(folder), table
        self.timing = timing or Timing()
        self.help = False
        self.ended = False  # whether the user has enough
        self.pressed = ""  # the keys that came while there was no result
        self.notice = ("", 0.0)  # text, and until when it is shown
        self.recording: VideoWriter | None = None

    def begin(self, source: Source, sinks: Iterable = (), on_view: Callable = lambda name: None) -> None:
        """Be ready for a source's results: what is written to a file goes as fast as it can, what is only
        watched at its own speed. sinks: see writers.py. on_view: is told the view, now and at each change.
        """
        self.source, self.sinks, self.on_view = source, list(sinks), on_view
        self.count = 0
        self.found = False  # whether there was a face in any picture
        self.failed = False  # whether a snapshot or a recording could not be written
        self.shown = deque(maxlen=30)  # when each was shown, and the seconds that it took
        watched = self.window is not None or bool(self.sinks)
        written = any(not isinstance(sink, VirtualCamera) for sink in self.sinks)
        self.paced = watched and not written and not source.live
        self.due = None  # when the next frame is to be shown, if it is paced
        on_view(self.views[0][0])

    def play(self, result: Result, warning: str = "") -> bool:
        """Play one result. Return False when the user has enough. Raises OSError if it cannot be written."""
        self.note(result)
        with self.timing("draw"):
            picture = self.draw(result)
        wait, key = self._time_to_wait(result), ""
        if self.window is None:
            time.sleep(wait)
        else:
            with self.timing("show"):
                key = self._show(picture, result, wait, warning)
        now = time.perf_counter()
        self.shown.append((now, now - result.frame.time))
        if self.source.live:
            self.timing.add("latency", now - result.frame.time)
        with self.timing("write"):
            for sink in self.sinks:
                sink.write(picture, result.frame.at, result.frame.until)
            if self.recording is not None:
                with self._forgiven():
                    self.recording.write(picture, result.frame.at, result.frame.until)
                if self.recording.error is not None:
                    self._stop_recording()
        self.count += 1
        keys, self.pressed = [*self.pressed, key], ""
        for key in keys:
            self._handle(key, result, picture)
        return not self.ended

    def note(self, result: Result) -> None:
        """Keep what the table and the summary say of a result, before a view draws into it."""
        self.found = self.found or bool(result.mask.faces)
        if self.table is not None:
            self.table.add(self.source.name, result.frame, result.mask, self.threshold)

    def draw(self, result: Result) -> np.ndarray:
        """Return the present view of a result: HWC BGR, BGRA or HxW, see views.py."""
        # The views draw into the frame; it is still needed where a key may change the view.
        image = result.frame.image if self.window is None else result.frame.image.copy()
        return self.views[0][1](image, result.mask, self.threshold)

    def hold(self, result: Result, question: str) -> None:
        """Show one result until a key asks for the next, or the user has enough."""
        key = ""
        while key not in (" ", "n", "\r") and not self.ended:
            picture = self.draw(result)
            key = self._show(picture, result, 0.05, question)
            if key != " ":
                self._handle(key, result, picture, held=True)

    def idle(self) -> bool:
        """Look at the keys while no result comes, for `play`. Return False when the user has enough."""
        if self.window is not None:
            self.pressed += self.window.key(0.001)
        self.ended = self.ended or "q" in self.pressed
        return not self.ended

    def status(self, result: Result) -> str:
        """Return frame rate, latency, face share and view: one line."""
        parts = []
        if len(self.shown) > 1:
            times, delays = zip(*self.shown)
            parts.append(f"{(len(times) - 1) / max(1e-6, times[-1] - times[0]):.0f} frames/s")
            if self.source.live:
                parts.append(f"{np.median(delays) * 1000:.0f} ms")
        parts += [f"{result.mask.share(self.threshold):.1%} face", self.views[0][0]]
        return "   ".join(parts + ["REC"] * (self.recording is not None))

    def close(self, whole: bool = True) -> None:
        """Finish and check what was written. Raises OSError if one of the files is not as it should be.

        whole: whether the source came to its end, or the user meant it.
        """
        if self.table is not None:
            self.table.whole &= whole
        with contextlib.ExitStack() as stack:  # all are closed, whatever happens to one of them
            for sink in self.sinks:
                stack.callback(sink.close, whole)
            if self.recording is not None:
                stack.callback(self._stop_recording)

    def say(self, text: str) -> None:
        """Tell the user, in the terminal and in the window."""
        print(text, file=sys.stderr)
        self.notice = (text, time.perf_counter() + NOTICE_SECONDS)

    def _show(self, picture: np.ndarray, result: Result, wait: float, warning: str = "") -> str:
        canvas = to_bgr(picture)
        scale = min(1.0, LARGEST[0] / canvas.shape[0], LARGEST[1] / canvas.shape[1])
        if scale < 1:  # so that the window fits the screen, and the text can be read
            canvas = resize(canvas, tuple(max(1, int(side * scale)) for side in canvas.shape[:2]))
        elif canvas is picture:
            canvas = picture.copy()  # the status line must not get into a snapshot
        lines = [self.status(result)] + [text for text in (warning, self.notice[0]) if text]
        if time.perf_counter() > self.notice[1]:
            self.notice = ("", 0.0)
        draw_lines(canvas, lines + (list(HELP) if self.help else []))
        return self.window.show(canvas, wait)

    def _time_to_wait(self, result: Result) -> float:
        """Return the seconds until the frame's time is over."""
        if not self.paced:
            return 0.0
        now = time.perf_counter()
        self.due = max(self.due or now, now - 0.5) + result.frame.until - result.frame.at
        return max(0.0, self.due - now)

    def _handle(self, key: str, result: Result, picture: np.ndarray, held: bool = False) -> None:
        """held: it is one picture for some time, of which no video is made."""
        if key == "q":
            self.ended = True
        elif key == "v":
            self.views.append(self.views.pop(0))
            self.on_view(self.views[0][0])
        elif key == "s":
            with self._forgiven():
                path = self._new_path("snapshot", ".png")
                write_image(path, to_rgb(picture))
                self.say(f"wrote {path}")
        elif key == "r" and not held:
            if self.recording is not None:
                self._stop_recording()
            else:
                self.recording = VideoWriter(
                    self._new_path("recording", ".mp4"), self.source.rate, self.source.colors
                )
                self.say(f"recording to {self.recording.path}; r stops it")
        elif key in ("+", "=", "-", "_"):
            moved = self.threshold + (THRESHOLD_STEP if key in ("+", "=") else -THRESHOLD_STEP)
            self.threshold = round(min(max(moved, THRESHOLD_STEP), 1 - THRESHOLD_STEP), 2)
            self.say(f"threshold {self.threshold:.2f}")
        elif key == "h":
            self.help = not self.help
        elif key == " ":
            self.hold(result, "paused: space goes on")
            self.due = None
            self.shown.clear()

    def _stop_recording(self) -> None:
        video, self.recording = self.recording, None
        with self._forgiven():
            video.close()
            if video.count:
                self.say(f"wrote {video.path} ({video.count} frames)")

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        """Say what goes wrong with a snapshot or a recording inside, and go on."""
        try:
            yield
        except (OSError, UserError) as error:
            self.failed = True
            self.say(str(error))

    def _new_path(self, what: str, suffix: str) -> Path:
        """Return a name that is not taken yet."""
        return self.folder / datetime.now().strftime(f"{what}-%Y%m%d-%H%M%S-%f{suffix}")
