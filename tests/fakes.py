"""A window, a camera and a web server for the tests."""

from __future__ import annotations

import contextlib
import http.server
import time

import cv2
import numpy as np


class FakeWindow:
    """Types the given keys, one a picture."""

    def __init__(self, keys: str = ""):
        self.keys, self.shown, self.waited = list(keys), [], []

    def show(self, picture: np.ndarray, wait: float = 0.0) -> str:
        self.shown.append(picture.copy())
        self.waited.append(wait)
        return self.key(wait)

    def key(self, wait: float) -> str:
        key = self.keys.pop(0) if self.keys and self.shown else ""  # nobody types before there is a picture
        return "" if key == "." else key

    def close(self) -> None:
        """Nothing is open."""


class FakeCapture:
    """In the way of cv2.VideoCapture: frames from a list, None for one that fails."""

    def __init__(self, frames: list, is_open: bool = True, rate: float = 25):
        self.frames, self.is_open = list(frames), is_open
        self.properties = {cv2.CAP_PROP_FPS: rate}
        self.released = False

    def isOpened(self) -> bool:
        return self.is_open

    def get(self, name: int) -> float:
        return self.properties.get(name, 0)

    def set(self, name: int, value: float) -> bool:
        self.properties[name] = value
        return True

    def grab(self) -> bool:
        self.image = self.frames.pop(0) if self.frames else None
        return self.image is not None

    def read(self) -> tuple:
        return self.grab(), self.image

    def release(self) -> None:
        self.released = True


class Server(http.server.BaseHTTPRequestHandler):
    """/stream: Motion JPEG as network cameras serve it, `count` frames; another path: that of `files`."""

    count = 40
    connections = 0
    files: dict = {}  # noqa: RUF012, each test sets its own

    def do_GET(self) -> None:
        type(self).connections += 1
        with contextlib.suppress(ConnectionError):  # who watches may go at any time
            if self.path != "/stream":
                return self.send_file()
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            self.send_frames()
        return None

    def send_file(self) -> None:
        data = self.files.get(self.path)
        self.send_response(404 if data is None else 200)
        if "." not in self.path:
            self.send_header("Content-Type", "image/jpeg")
        if not self.path.endswith(".ts"):  # which goes on, as far as the client knows
            self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def send_frames(self) -> None:
        for number in range(self.count):
            jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 5 * number, np.uint8))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(0.01)

    def log_message(self, *args) -> None:
        """Quiet."""
