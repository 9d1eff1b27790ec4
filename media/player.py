"""What the user sees and decides: views, window and keys; what is written of a source's results.

    player = Player(options)                                # for all sources of a run
    playback = Playback(player, source, sinks=[VideoWriter("out.mp4", source.rate)])
    while playback.play(result):
        ...
    playback.close()

All in the main thread.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
from tqdm import tqdm

from files.pictures import write_image
from media.frames import Result, Source
from media.options import Options
from media.shapes import Selection
from media.table import FaceTable
from media.views import VIEWS, View, parse_view, to_bgr, to_rgb
from media.window import HELP, Window, draw_lines
from media.writers import VideoWriter, Writer
from runtimes.runtime import Timing
from utils import UserError, resize

THRESHOLD_STEP = 0.05
LARGEST = (800, 1440)  # (height, width) of what is shown; written is all of it
NOTICE_SECONDS = 3.0  # how long a notice stays in the picture


class Player:
    """Draws and shows, and holds what the user chose."""

    def __init__(self, options: Options, window: Window | None = None):
        """Raises UserError for an unknown view."""
        names = dict.fromkeys([options.view, *VIEWS])  # the first is shown, v goes on to the next
        self.views = [*map(parse_view, names)]
        self.style = options.style
        self.selection = Selection(options.except_track, options.only_in, options.not_in)
        self.folder = Path(options.folder)  # for what the keys s and r write
        self.quality = {"crf": options.crf, "preset": options.preset}
        self.window, self.mirror = window, options.mirror  # of the window alone
        self.on_view: Callable[[View], None] = lambda view: None  # is called with each new view
        self.table: FaceTable | None = None
        self.timing = Timing()
        self.help = False
        self.ended = False  # whether the user has enough
        self.pressed = ""  # the keys that came while there was no result
        self.notice = ("", 0.0)  # text, and until when it is shown

    @property
    def view(self) -> View:
        return self.views[0]

    def draw(self, result: Result) -> np.ndarray:
        """Return the present view of a result: HWC BGR, BGRA or HxW, see views.py."""
        # The views draw into the frame; it is still needed where a key may change the view.
        image = result.frame.image if self.window is None else result.frame.image.copy()
        return self.view.draw(image, self.selection(result.mask), self.style)

    def show(self, picture: np.ndarray, lines: list[str], wait: float) -> str:
        """Show a picture with lines of text on it. Return the key that was pressed while it waited."""
        canvas = to_bgr(picture)
        scale = min(1.0, LARGEST[0] / canvas.shape[0], LARGEST[1] / canvas.shape[1])
        if scale < 1:  # so that the window fits the screen, and the text can be read
            canvas = resize(canvas, tuple(max(1, int(side * scale)) for side in canvas.shape[:2]))
        canvas = canvas[:, ::-1].copy() if self.mirror else canvas.copy()  # no text gets into a snapshot
        notice = [self.notice[0]] if time.perf_counter() < self.notice[1] else []
        draw_lines(canvas, [*lines, *notice, *(HELP if self.help else ())])
        return self.window.show(canvas, wait)

    def idle(self) -> bool:
        """Look at the keys while no result comes. Return False when the user has enough."""
        if self.window is not None:
            self.pressed += self.window.key(0.001)
        self.ended = self.ended or "q" in self.pressed
        return not self.ended

    def say(self, text: str) -> None:
        """Tell the user, in the terminal and in the window."""
        tqdm.write(text, file=sys.stderr)
        self.notice = (text, time.perf_counter() + NOTICE_SECONDS)


class Playback:
    """Plays one source's results: into files as fast as it can, what is only watched at its own speed."""

    def __init__(self, player: Player, source: Source, sinks: Iterable[Writer] = ()):
        self.player, self.source, self.sinks = player, source, list(sinks)
        self.count = 0
        self.faces = False  # whether there was a face in any picture
        self.failed = False  # whether a snapshot or a recording could not be written
        self.shown = deque(maxlen=30)  # when each was shown, and the seconds that it took
        self.recording: VideoWriter | None = None
        self.written = any(not sink.live for sink in self.sinks)
        self.paced = bool(player.window or self.sinks) and not (self.written or source.live)
        self.due = None  # when the next frame is to be shown, if it is paced

    def play(self, result: Result) -> bool:
        """Play one result. Return False when the user has enough. Raises OSError if it cannot be written."""
        player, timing, frame = self.player, self.player.timing, result.frame
        self.note(result)
        with timing("draw"):
            picture = player.draw(result)
        wait, key = self.time_to_wait(result), ""
        if player.window is None:
            time.sleep(wait)
        else:
            with timing("show"):
                key = player.show(picture, [self.status(result)], wait)
        now = time.perf_counter()
        self.shown.append((now, now - frame.time))
        if self.source.live:
            timing.add("latency", now - frame.time)
        with timing("write"):
            for sink in self.sinks:
                sink.write(picture, frame.at, frame.until)
            if self.recording is not None:
                with self._forgiven():
                    self.recording.write(picture, frame.at, frame.until)
                if self.recording.failed:
                    self._stop_recording()
        self.count += 1
        keys, player.pressed = [*player.pressed, key], ""
        for key in keys:
            self._handle(key, result, picture)
        return not player.ended

    def recorded(self) -> bool:
        """Return whether each frame counts at this moment, because it goes into a file."""
        return self.written or self.recording is not None or self.player.table is not None

    @property
    def faceless(self) -> str:
        """The source's name where no face was seen in it, unless it is a camera or a stream."""
        return "" if self.faces or self.source.live else self.source.name

    def note(self, result: Result) -> None:
        """Keep what the table and the report say of a result, before a view draws into it."""
        self.faces = self.faces or bool(result.mask.faces)
        if self.player.table is not None:
            self.player.table.add(self.source.name, result.frame, result.mask, self.player.style.threshold)

    def hold(self, result: Result, question: str) -> None:
        """Show one result until the space bar asks for the next, or the user has enough."""
        key = ""
        while key != " " and not self.player.ended:
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
        """Do what a key asks for (see window.HELP)."""
        player = self.player
        if key == "q":
            player.ended = True
        elif key == "v":
            player.views.append(player.views.pop(0))
            player.on_view(player.view)
        elif key == "s":
            with self._forgiven():
                path = self._new_path("snapshot", ".png")
                write_image(path, to_rgb(picture))
                player.say(f"wrote {path}")
        elif key == "r" and self.recording is not None:
            self._stop_recording()
        elif key == "r":
            path = self._new_path("recording", ".mp4")
            self.recording = VideoWriter(path, self.source.rate, self.source.colors, **player.quality)
            player.say(f"recording to {path}; r stops it")
        elif key == " ":
            self.hold(result, "paused: space goes on")
            self.due = None
            self.shown.clear()
        elif key in ("+", "=", "-", "_"):
            moved = player.style.threshold + (THRESHOLD_STEP if key in "+=" else -THRESHOLD_STEP)
            threshold = round(min(max(moved, THRESHOLD_STEP), 1 - THRESHOLD_STEP), 2)
            player.style = replace(player.style, threshold=threshold)
            player.say(f"threshold {threshold:.2f}")
        elif key == "m":
            player.mirror = not player.mirror
        elif key == "h":
            player.help = not player.help

    def _stop_recording(self) -> None:
        video, self.recording = self.recording, None
        with self._forgiven():
            video.close()
            if video.encoder.count:
                self.player.say(f"{video.outcome()} ({video.encoder.count} frames)")

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
