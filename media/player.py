"""What happens to the results: they are drawn, written, and shown in the window, where keys steer it.

player = Player([("overlay", view)], 0.5, stream, sinks=[VideoWriter("out.mp4", 30)])
try:
    for result in results:
        if not player.play(result):
            break
finally:
    player.close()
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from faces.timing import Timing
from files.pictures import write_image
from media.frames import Frame
from media.pipeline import Result
from media.table import FaceTable
from media.views import View, to_bgr, to_rgb
from media.window import HELP, Window, draw_lines
from media.writers import VideoWriter
from utils import UserError, resize

THRESHOLD_STEP = 0.05
LARGEST = (800, 1440)  # (height, width) of what is shown; written is all of it
NOTICE_SECONDS = 3.0  # how long a notice stays in the picture


class Stream(NamedTuple):
    """What the player has to know of the source."""

    name: str
    rate: float  # frames/s
    live: bool


class Player:
    """Draws, writes and shows results one by one. To be used in the main thread."""

    def __init__(
        self,
        views: list[tuple[str, View]],
        threshold: float,
        stream: Stream,
        sinks: list,
        window: Window | None = None,
        folder: str | Path = "output",
        timing: Timing | None = None,
        on_view: Callable[[str], None] | None = None,
        table: FaceTable | None = None,
    ):
        """views: the first is shown, v goes on to the next. sinks: see writers.py. folder: for s and r.
        on_view: is called with the name of the view that is shown, at once and at each change.

        A video that is written goes as fast as it can; one that is only watched, at its own speed.
        """
        self.views = list(views)
        self.threshold = threshold
        self.stream = stream
        self.sinks = sinks
        self.window = window
        self.folder = Path(folder)
        self.timing = timing or Timing()
        self.table = table
        self.count = 0
        self.found = False  # whether there was a face in any picture
        self.help = False
        self.pressed = ""  # the keys that came while there was no result
        self.recording: VideoWriter | None = None
        self.failed = False  # whether a snapshot or a recording could not be written
        self.notice = ("", 0.0)  # text, and until when it is shown
        self.shown = deque(maxlen=30)  # when the last frames were shown
        self.latency = deque(maxlen=30)  # seconds from camera to screen
        watched = window is not None or bool(sinks)
        self.paced = watched and not stream.live and not any(isinstance(s, VideoWriter) for s in sinks)
        self.due = None  # when the next frame is to be shown, if it is paced
        self.on_view = on_view or (lambda name: None)
        self.on_view(self.views[0][0])

    def play(self, result: Result, warning: str = "") -> bool:
        """One result. Returns False when the user wants to end. Raises OSError if it cannot be written."""
        self.note(result)
        with self.timing("draw"):
            picture = self.draw(result)
        with self.timing("write"):
            for sink in self.sinks:
                sink.write(picture, result.frame.at, result.frame.until)
            if self.recording is not None:
                self._record(picture, result.frame)
        self.count += 1
        if self.window is None:
            time.sleep(self._time_to_wait(result))
            self._note_time(result)
            return True
        with self.timing("show"):
            key = self._show(picture, result, self._time_to_wait(result), warning)
        self._note_time(result)
        keys, self.pressed = [*self.pressed, key], ""
        return all([self._handle(each, result, picture) for each in keys])

    def note(self, result: Result) -> None:
        """Keep what the table and the summary say of a result, before a view draws into it."""
        self.found = self.found or result.mask.region.width > 0
        if self.table is not None:
            self.table.add(self.stream.name, result.frame, result.mask, self.threshold)

    def draw(self, result: Result) -> np.ndarray:
        """The present view of a result: HWC BGR, BGRA or HxW, see views.py."""
        # The views draw into the frame; it is still needed where a key may change the view.
        image = result.frame.image if self.window is None else result.frame.image.copy()
        return self.views[0][1](image, result.mask, self.threshold)

    def hold(self, result: Result, question: str) -> bool:
        """Show one result until a key is pressed that does nothing else. Returns False to end."""
        while True:
            picture = self.draw(result)
            key = self._show(picture, result, 0.05, question)
            if key in (" ", "n", "\r"):
                return True
            if not self._handle(key, result, picture, pausing=False):
                return False

    def idle(self) -> bool:
        """Look at the keys while no result comes, for `play`. Returns False when the user wants to end."""
        if self.window is not None and self.window.is_open:
            self.pressed += self.window.key(0.001)
        return "q" not in self.pressed

    def status(self, result: Result) -> str:
        """Frame rate, latency, face share, view: one line."""
        parts = [f"{result.mask.share(self.threshold):.1%} face", self.views[0][0]]
        if len(self.shown) > 1:
            parts.insert(0, f"{self.rate():.0f} frames/s")
            if self.stream.live:
                parts.insert(1, f"{np.median(self.latency) * 1000:.0f} ms")
        if self.recording is not None:
            parts.append("REC")
        return "   ".join(parts)

    def rate(self) -> float:
        """Frames/s of late."""
        return (len(self.shown) - 1) / max(1e-6, self.shown[-1] - self.shown[0])

    def close(self, whole: bool = True) -> None:
        """Finish and check what was written. Raises OSError if one of the files is not as it should be.

        whole: whether the source came to its end, or the user meant it.
        """
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
        lines = [self.status(result)]
        lines += [text for text in (warning, self.notice[0]) if text]
        if time.perf_counter() > self.notice[1]:
            self.notice = ("", 0.0)
        draw_lines(canvas, lines + (list(HELP) if self.help else []))
        return self.window.show(canvas, wait)

    def _time_to_wait(self, result: Result) -> float:
        """Seconds until the frame's time is over."""
        if not self.paced:
            return 0.0
        now = time.perf_counter()
        self.due = max(self.due or now, now - 0.5) + result.frame.until - result.frame.at
        return max(0.0, self.due - now)

    def _note_time(self, result: Result) -> None:
        now = time.perf_counter()
        self.shown.append(now)
        self.latency.append(now - result.frame.time)
        if self.stream.live:
            self.timing.add("latency", now - result.frame.time)

    def _handle(self, key: str, result: Result, picture: np.ndarray, pausing: bool = True) -> bool:
        if key == "v":
            self.views.append(self.views.pop(0))
            self.on_view(self.views[0][0])
        elif key == "s":
            self._snapshot(picture)
        elif key == "r" and pausing:  # one picture makes no video
            self._toggle_recording()
        elif key in ("+", "="):
            self._set_threshold(self.threshold + THRESHOLD_STEP)
        elif key in ("-", "_"):
            self._set_threshold(self.threshold - THRESHOLD_STEP)
        elif key == "h":
            self.help = not self.help
        elif key == " " and pausing:
            going_on = self.hold(result, "paused: space goes on")
            self.due = None
            self.shown.clear()
            return going_on
        return key != "q"

    def _set_threshold(self, value: float) -> None:
        self.threshold = round(min(max(value, THRESHOLD_STEP), 1 - THRESHOLD_STEP), 2)
        self.say(f"threshold {self.threshold:.2f}")

    def _snapshot(self, picture: np.ndarray) -> None:
        path = self._new_path("snapshot", ".png")
        try:
            write_image(path, to_rgb(picture))
            self.say(f"wrote {path}")
        except (OSError, UserError) as error:
            self._fail(error)

    def _toggle_recording(self) -> None:
        if self.recording is None:
            self.recording = VideoWriter(self._new_path("recording", ".mp4"), self.stream.rate)
            self.say(f"recording to {self.recording.path}; r stops it")
        else:
            self._stop_recording()

    def _record(self, picture: np.ndarray, frame: Frame) -> None:
        try:
            self.recording.write(picture, frame.at, frame.until)
        except (OSError, UserError) as error:
            self._fail(error)
            self._stop_recording()

    def _stop_recording(self) -> None:
        video, self.recording = self.recording, None
        try:
            video.close()
            if video.count:
                self.say(f"wrote {video.path} ({video.count} frames)")
        except (OSError, UserError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.failed = True
        self.say(str(error))

    def _new_path(self, what: str, suffix: str) -> Path:
        """A name that is not taken yet."""
        stem = f"{what}-{time.strftime('%Y%m%d-%H%M%S')}"
        path = self.folder / f"{stem}{suffix}"
        number = 1
        while path.exists():
            number += 1
            path = self.folder / f"{stem}-{number}{suffix}"
        return path
