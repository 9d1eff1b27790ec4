"""What the user sees and decides: the views, the window, the choices by keys, for all sources of a run.

    player = Player([parse_view("overlay")], window=open_window("Faces"))

playback.py has what happens to the results of one source.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from media.frames import Result
from media.shapes import Selection, Style
from media.table import FaceTable
from media.views import View, to_bgr
from media.window import HELP, Window, draw_lines
from runtimes.runtime import Timing
from utils import resize

THRESHOLD_STEP = 0.05
LARGEST = (800, 1440)  # (height, width) of what is shown; written is all of it
NOTICE_SECONDS = 3.0  # how long a notice stays in the picture


@dataclass
class Player:
    """Draws and shows, and holds what the user chose. To be used in the main thread."""

    views: list[View]  # the first is shown, v goes on to the next
    style: Style
    selection: Selection
    window: Window | None = None
    folder: Path = Path("output")  # for what the keys s and r write
    table: FaceTable | None = None
    timing: Timing = field(default_factory=Timing)
    mirror: bool = False  # of the window alone
    help: bool = False
    ended: bool = False  # whether the user has enough
    pressed: str = ""  # the keys that came while there was no result
    notice: tuple[str, float] = ("", 0.0)  # text, and until when it is shown

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
        if time.perf_counter() > self.notice[1]:
            self.notice = ("", 0.0)
        lines = [line for line in (*lines, self.notice[0]) if line]
        draw_lines(canvas, lines + (list(HELP) if self.help else []))
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

    def handle(self, key: str) -> None:
        """Do what a key asks for that concerns no source in particular."""
        if key == "q":
            self.ended = True
        elif key == "v":
            self.views.append(self.views.pop(0))
        elif key in ("+", "=", "-", "_"):
            moved = self.style.threshold + (THRESHOLD_STEP if key in ("+", "=") else -THRESHOLD_STEP)
            threshold = round(min(max(moved, THRESHOLD_STEP), 1 - THRESHOLD_STEP), 2)
            self.style = replace(self.style, threshold=threshold)
            self.say(f"threshold {threshold:.2f}")
        elif key == "m":
            self.mirror = not self.mirror
        elif key == "h":
            self.help = not self.help
