"""The window, a real one where there is Xvfb: python -m pytest tests/media/test_window.py"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from media import window
from media.window import Window, draw_lines, has_display, open_window

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("Xvfb", "xdotool", "xwd")


def test_no_display(monkeypatch):
    monkeypatch.setattr(window.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    assert not has_display()
    monkeypatch.setenv("DISPLAY", ":9753")  # nobody is there
    assert not has_display()


def test_an_opencv_without_windows(monkeypatch, caplog):
    monkeypatch.setattr(window.cv2, "currentUIFramework", lambda: "")
    assert open_window("test") is None and "opencv-python-headless, has no window" in caplog.text


@pytest.mark.parametrize(
    ("code", "key"), [(-1, ""), (ord("Q"), "q"), (32, " "), (27, "q"), (0xFF51, ""), (0xFE52, "")]
)
def test_arrows_and_dead_keys_are_no_letters(monkeypatch, code, key):
    monkeypatch.setattr(window.cv2, "waitKeyEx", lambda wait: code)
    monkeypatch.setattr(window.cv2, "getWindowProperty", lambda title, which: 1.0)
    monkeypatch.setattr(window.cv2, "namedWindow", lambda *how: None)
    monkeypatch.setattr(window.cv2, "waitKey", lambda wait: -1)
    assert Window("test").key(0.001) == key


def test_lines_can_be_read_on_white_and_on_black():
    for level in (0, 255):
        picture = np.full((480, 640, 3), level, np.uint8)
        draw_lines(picture, ["30 frames/s"])
        assert picture[:40, :200].min() < 60 and picture[:40, :200].max() > 200
        assert (picture[60:] == level).all()


@pytest.fixture
def screen(tmp_path):
    """The environment of a screen of its own, 800x600."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        pytest.skip(
            f"a real window needs {', '.join(missing)} (Debian: apt-get install xvfb xdotool x11-apps)"
        )
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as answer:
        number = answer.readline().strip()
    yield {**os.environ, "DISPLAY": f":{number}"}
    server.terminate()
    server.wait(timeout=20)


def screenshot(environment: dict) -> np.ndarray:
    """The screen, HWC uint8 BGR, out of xwd's file: a header of big-endian words, then 32-bit pixels."""
    dump = subprocess.run(
        ["xwd", "-root", "-silent"], env=environment, capture_output=True, check=True
    ).stdout
    words = np.frombuffer(dump[:100], ">u4")
    header, width, height, line, colors = words[0], words[4], words[5], words[12], words[19]
    pixels = np.frombuffer(dump[header + 12 * colors :], np.uint8)[: height * line].reshape(height, line)
    return pixels[:, : width * 4].reshape(height, width, 4)[..., :3]


def wait_for(condition, what: str, seconds: float = 300):
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


def finished(folder: Path, what: str) -> list[Path]:
    """The snapshots or recordings that are written to the end."""
    return [path for path in folder.glob(f"output/{what}-*") if ".tmp" not in path.name]


def window_id(environment: dict) -> str:
    found = subprocess.run(
        ["xdotool", "search", "--name", "LinkNet34"], env=environment, capture_output=True, text=True
    )
    return found.stdout.split()[0] if found.stdout.split() else ""


class ClientMessage(ctypes.Structure):
    """Xlib's XClientMessageEvent."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("room", ctypes.c_long * 12),  # an XEvent is larger than this kind of it
    )


def ask_to_close(identity: int, display_name: str) -> None:
    """What a window manager sends for the button with the cross; here there is no window manager."""
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    display = ctypes.c_void_p(x11.XOpenDisplay(display_name.encode()))
    protocols, delete = (x11.XInternAtom(display, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
    data = (ctypes.c_long * 5)(delete, 0)
    message = ClientMessage(33, 0, 1, display, identity, protocols, 32, data)
    x11.XSendEvent(display, ctypes.c_ulong(identity), 0, ctypes.c_long(0), ctypes.byref(message))
    x11.XSync(display, 0)
    x11.XCloseDisplay(display)


@pytest.fixture
def running(screen, random_weights, tmp_path):
    """infer.py on the sample in a real window: (process, type a key, screen's environment)."""
    command = [sys.executable, str(ROOT / "infer.py"), "--source", "sample", "--weights", str(random_weights)]
    command += ["--size", "32", "--view", "side-by-side"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=screen, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: window_id(screen), "the window")

        def press(key: str) -> None:
            command = ["xdotool", "windowfocus", window_id(screen), "key", key]
            subprocess.run(command, env=screen, check=True)
            time.sleep(0.5)  # two keys at the same moment are one to OpenCV

        # The window opens empty, of one colour.
        wait_for(lambda: len(np.unique(screenshot(screen))) > 100, "a picture in the window")
        yield process, press, screen
    finally:
        process.kill()
        process.communicate()


def test_keys_in_a_real_window(running, tmp_path):
    process, press, environment = running

    def take_snapshot() -> bool:
        press("v")  # every view but side-by-side is half as wide; a key that comes very early is lost
        press("s")
        return any(cv2.imread(str(path)).shape[:2] == (480, 640) for path in finished(tmp_path, "snapshot"))

    wait_for(take_snapshot, "a snapshot of another view")
    press("r")
    wait_for(lambda: list(tmp_path.glob("output/recording-*")), "the start of the recording")
    time.sleep(1)
    press("r")
    recording = wait_for(lambda: finished(tmp_path, "recording"), "the recording")[0]
    press("h")

    def moves_after_space() -> bool:
        press("space")
        before = screenshot(environment)
        time.sleep(1)
        return (screenshot(environment) != before).any()

    wait_for(lambda: not moves_after_space(), "the pause")
    wait_for(moves_after_space, "the picture to move on")
    press("Escape")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and " frames in " in out and "Traceback" not in err
    capture = cv2.VideoCapture(str(recording))
    assert capture.read()[0] and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0


@pytest.mark.slow  # on a machine under heavy load it has waited in vain, once in forty times
def test_closing_the_window_ends_it(running):
    process, _, environment = running
    ask_to_close(int(window_id(environment)), environment["DISPLAY"])
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and " frames in " in out and "Traceback" not in err
