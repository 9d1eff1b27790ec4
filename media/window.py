"""The window: showing pictures, reading keys.

window = open_window("LinkNet34")   # None where there is no display
key = window.show(picture)          # "q", "v", ... or "" ; "q" too when the window was closed
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

import cv2
import numpy as np

from utils import log

HELP = (
    "q, Esc  quit",
    "v  next view",
    "s  snapshot",
    "r  record, stop recording",
    "space  pause",
    "+ -  threshold",
    "m  mirror",
    "h  hide this help",
)


def has_display() -> bool:
    """Return whether a window can be opened: Qt, inside OpenCV, ends the whole program where none can."""
    if not sys.platform.startswith("linux"):
        return True
    if not os.environ.get("DISPLAY"):
        return False
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return True  # cannot be asked without the library: let OpenCV try
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    # The connection stays open: a bare X server (Xvfb) starts afresh when its last client leaves, and a
    # window that is opened at that moment never shows anything.
    return not xcb.xcb_connection_has_error(connection)


def open_window(title: str) -> Window | None:
    """Return a window, None where there is none. Open it before OpenVINO is loaded: after that, Qt gets no
    events one time in about twenty.
    """
    if not cv2.currentUIFramework():
        log.warning("this OpenCV, opencv-python-headless, has no window")
    elif not has_display():
        log.warning("there is no display, so no window opens")
    else:
        return Window(title)
    return None


class Window:
    """One window, for the main thread."""

    def __init__(self, title: str):
        self.title, self.has_size = title, False
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.waitKey(1)

    def show(self, picture: np.ndarray, wait: float = 0.001) -> str:
        """Show HWC uint8 BGR. For `wait` and what is returned see `key`."""
        if self._is_closed():
            return "q"
        if not self.has_size:
            cv2.resizeWindow(self.title, picture.shape[1], picture.shape[0])
            self.has_size = True
        cv2.imshow(self.title, picture)
        return self.key(wait)

    def key(self, wait: float) -> str:
        """Wait so many seconds, at least one millisecond, for a key, and return it as a character.

        It is "q" for Escape and a closed window, "" for none.
        """
        code = cv2.waitKeyEx(max(1, round(wait * 1000)))
        if self._is_closed() or code == 27:  # Escape
            return "q"
        # Arrows and the like have larger codes, whose last byte would read as a letter.
        return chr(code).lower() if 0 <= code <= 0xFF else ""

    def _is_closed(self) -> bool:
        try:
            return cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error:  # some of OpenCV's window systems say so in this way
            return True

    def close(self) -> None:
        with contextlib.suppress(cv2.error):  # the user may have closed it already
            cv2.destroyWindow(self.title)


def draw_lines(picture: np.ndarray, lines: list[str]) -> None:
    """Write white ASCII text with a shadow into the top left corner of an HWC uint8 picture, in place."""
    scale = max(0.4, picture.shape[0] / 900)
    step = round(36 * scale)
    for row, line in enumerate(lines, start=1):
        for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            place = (step // 3, row * step)
            cv2.putText(picture, line, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thickness, cv2.LINE_AA)
