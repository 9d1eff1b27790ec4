"""What happens to the results of one source: they are drawn, written, and shown in the window.

playback = Playback(player, source, sinks=[VideoWriter("out.mp4", source.rate)])
while playback.play(result):
    ...
playback.close()
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np

from files.pictures import write_image
from media.frames import Result, Source
from media.player import Player
from media.views import View, to_rgb
from media.writers import VideoWriter
from utils import UserError


class Playback:
    """Plays one source's results: into files as fast as it can, what is only watched at its own speed."""

    def __init__(
        self,
        player: Player,
        source: Source,
        sinks: Iterable = (),
        on_view: Callable[[View], None] = lambda view: None,
    ):
        """sinks: see writers.py. on_view: is called with the view, now and at each change."""
        self.player, self.source, self.sinks, self.on_view = player, source, list(sinks), on_view
        self.count = 0
        self.faces = False  # whether there was a face in any picture
        self.failed = False  # whether a snapshot or a recording could not be written
        self.shown = deque(maxlen=30)  # when each was shown, and the seconds that it took
        self.recording: VideoWriter | None = None
        watched = player.window is not None or bool(self.sinks)
        self.written = any(not sink.live for sink in self.sinks)
        self.paced = watched and not self.written and not source.live
        self.due = None  # when the next frame is to be shown, if it is paced
        on_view(player.view)

    def play(self, result: Result, warning: str = "") -> bool:
        """Play one result. Return False when the user has enough. Raises OSError if it cannot be written."""
        player, timing = self.player, self.player.timing
        self.note(result)
        with timing("draw"):
            picture = player.draw(result)
        wait, key = self.time_to_wait(result), ""
        if player.window is None:
            time.sleep(wait)
        else:
            with timing("show"):
                key = player.show(picture, [self.status(result), warning], wait)
        now = time.perf_counter()
        self.shown.append((now, now - result.frame.time))
        if self.source.live:
            timing.add("latency", now - result.frame.time)
        with timing("write"):
            for sink in self.sinks:
                sink.write(picture, result.frame.at, result.frame.until)
            if self.recording is not None:
                with self._forgiven():
                    self.recording.write(picture, result.frame.at, result.frame.until)
                if self.recording.error is not None:
                    self._stop_recording()
        self.count += 1
        keys, player.pressed = [*player.pressed, key], ""
        for key in keys:
            self._handle(key, result, picture)
        return not player.ended

    def recorded(self) -> bool:
        """Return whether each frame counts at this moment, because it goes into a file."""
        return self.written or self.recording is not None or self.player.table is not None

    def note(self, result: Result) -> None:
        """Keep what the table and the report say of a result, before a view draws into it."""
        self.faces = self.faces or bool(result.mask.faces)
        if self.player.table is not None:
            self.player.table.add(self.source.name, result.frame, result.mask, self.player.style.threshold)

    def hold(self, result: Result, question: str) -> None:
        """Show one result until a key asks for the next, or the user has enough."""
        key = ""
        while key not in (" ", "n", "\r") and not self.player.ended:
            picture = self.player.draw(result)
            key = self.player.show(picture, [self.status(result), question], 0.05)
            if key not in (" ", "r"):  # of one picture no video is made
                self._handle(key, result, picture)

    def status(self, result: Result) -> str:
        """Return frame rate, latency, face share and view: one line."""
        parts = []
        if len(self.shown) > 1:
            times, delays = zip(*self.shown, strict=True)
            parts.append(f"{(len(times) - 1) / max(1e-6, times[-1] - times[0]):.0f} frames/s")
            if self.source.live:
                parts.append(f"{np.median(delays) * 1000:.0f} ms")
        parts += [f"{result.mask.share(self.player.style.threshold):.1%} face", self.player.view.name]
        return "   ".join(parts + ["REC"] * (self.recording is not None))

    def close(self, finished: bool = True) -> None:
        """Finish and check what was written. Raises OSError if one of the files is not as it should be.

        finished: whether the source came to its end, or the user meant it.
        """
        if self.player.table is not None:
            self.player.table.finished &= finished
        with contextlib.ExitStack() as stack:  # all are closed, whatever happens to one of them
            for sink in self.sinks:
                stack.callback(sink.close, finished)
            if self.recording is not None:
                stack.callback(self._stop_recording)

    def time_to_wait(self, result: Result) -> float:
        """Return the seconds until the frame's time is over."""
        if not self.paced:
            return 0.0
        now = time.perf_counter()
        self.due = max(self.due or now, now - 0.5) + result.frame.until - result.frame.at
        return max(0.0, self.due - now)

    def _handle(self, key: str, result: Result, picture: np.ndarray) -> None:
        if key == "s":
            with self._forgiven():
                path = self._new_path("snapshot", ".png")
                write_image(path, to_rgb(picture))
                self.player.say(f"wrote {path}")
        elif key == "r" and self.recording is not None:
            self._stop_recording()
        elif key == "r":
            path = self._new_path("recording", ".mp4")
            self.recording = VideoWriter(path, self.source.rate, self.source.colors)
            self.player.say(f"recording to {path}; r stops it")
        elif key == " ":
            self.hold(result, "paused: space goes on")
            self.due = None
            self.shown.clear()
        else:
            self.player.handle(key)
            if key == "v":
                self.on_view(self.player.view)

    def _stop_recording(self) -> None:
        video, self.recording = self.recording, None
        with self._forgiven():
            video.close()
            if video.count:
                self.player.say(f"wrote {video.path} ({video.count} frames)")

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        """Say what goes wrong with a snapshot or a recording inside, and go on."""
        try:
            yield
        except (OSError, UserError) as error:
            self.failed = True
            self.player.say(str(error))

    def _new_path(self, what: str, suffix: str) -> Path:
        """Return a name that is not taken yet."""
        return self.player.folder / datetime.now().strftime(f"{what}-%Y%m%d-%H%M%S-%f{suffix}")
