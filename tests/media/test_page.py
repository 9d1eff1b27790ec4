"""The page in the browser: served by infer.py as users start it, used in Chromium."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import CHROMIUM, Browser
from clips import add_picture
from programs import ROOT, ended
from scenes import portrait

import infer
from files.pictures import read_image
from media.options import page_address, parse_arguments
from media.videos import open_file
from media.writers import VideoWriter

needs_gradio = pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs gradio")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
COUNT_FRAMES = """window.times = [];
new MutationObserver(changes => changes.filter(c => c.target.src?.startsWith('data:'))
    .forEach(c => { window.times.push(performance.now()); window.last = c.target.src; }))
    .observe(document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ['src']});
true"""
# The rule that stops a request to elsewhere, "" if none does.
STOPPED = """new Promise(done => {
    document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective));
    fetch('http://localhost:9/').catch(() => setTimeout(() => done(''), 1000)); })"""
DOWNLOADS = (
    "[...document.querySelectorAll('a[download]')].map(a => a.href).filter(a => a.includes('/results-'))"
)


def test_addresses():
    assert parse_arguments([]).page is None
    assert parse_arguments(["--page"]).page == ("127.0.0.1", 7860)
    assert page_address("0.0.0.0:80") == ("0.0.0.0", 80)
    assert page_address("7861") == page_address(":7861") == ("127.0.0.1", 7861)
    assert page_address("[::1]:7861") == ("::1", 7861)


def test_what_the_page_does_not_take(red_world, capsys):
    for option in ("--source=x", "--output=x", "--table=x", "--skip-existing", "--shard=2/8"):
        assert ended(infer.main, "--page", option) == 1
        assert f"leave out {option.partition('=')[0]}" in capsys.readouterr().err
    assert ended(infer.main, "--share") == 2 and "--share goes with --page" in capsys.readouterr().err


@pytest.mark.skipif(bool(importlib.util.find_spec("gradio")), reason="gradio is there")
def test_without_gradio(red_world, capsys):
    assert ended(infer.main, "--page") == 1
    assert "`bash infer.sh --page` installs it" in capsys.readouterr().err


@needs_gradio
def test_what_is_not_served(red_world, capsys, monkeypatch):
    monkeypatch.delenv("PAGE_PASSWORD", raising=False)
    for more in (["--page", "0.0.0.0:7860"], ["--page", "somewhere:7860"], ["--page", "--share"]):
        assert ended(infer.main, *more) == 1
        assert "set a password" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert ended(infer.main, "--page", port) == 1
    assert f"127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


@contextlib.contextmanager
def served(folder: Path, password: str | None = None) -> Iterator[str]:
    """Serve a page as a user does; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, ROOT / "infer.py", "--page", f"127.0.0.1:{port}"]
    environment = {**os.environ, "TMPDIR": str(folder)} | ({"PAGE_PASSWORD": password} if password else {})
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert f"http://127.0.0.1:{port}" in line
            assert f"ssh -L {port}:127.0.0.1:{port}" in process.stdout.readline()
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 143
    assert list(folder.glob("faceseg-*")) == []


def status(address: str, form: dict | None = None) -> int:
    """Return the status of the answer to a GET, or to a POST with a form."""
    try:
        body = urllib.parse.urlencode(form).encode() if form else None
        return urllib.request.urlopen(address, body).status
    except urllib.error.HTTPError as error:
        return error.code


@needs_gradio
@pytest.mark.slow
def test_a_password_is_asked_for(tmp_path: Path):
    with served(tmp_path, "open sesame") as address:
        page = urllib.request.urlopen(address).read().decode()
        assert [status(address + path) for path in ("config", "gradio_api/info")] == [401, 401]
        for given, expected in (("wrong", 400), ("open sesame", 200)):
            assert status(address + "login", {"username": "me", "password": given}) == expected
    assert "open sesame" not in page
    assert not re.search(r'<(script|link|img|iframe)[^>]*(src|href)="(https?:)?//', page)


def make_media(folder: Path) -> list[Path]:
    """Write a picture and a video of the portrait, a wrong file, and what the camera shows."""
    image, _ = portrait()
    image = cv2.resize(image, (480, 480), interpolation=cv2.INTER_AREA)
    video = VideoWriter(folder / "clip.mp4", 10)
    pictures = []
    for step in range(10):
        scene = np.full((480, 640, 3), 90, np.uint8)
        scene[:, 40 + 8 * step : 520 + 8 * step] = image
        add_picture(video, scene)
        pictures.append(cv2.imencode(".jpg", scene)[1].tobytes())
    video.close()
    cv2.imwrite(str(folder / "portrait.png"), image)
    (folder / "wrong.txt").write_text("no picture")
    (folder / "camera.mjpeg").write_bytes(b"".join([*pictures, *pictures[::-1]] * 5))
    return [folder / name for name in ("portrait.png", "clip.mp4", "wrong.txt")]


def download(address: str, path: Path) -> Path:
    path.write_bytes(urllib.request.urlopen(address).read())
    return path


@needs_gradio
@needs_chromium
@pytest.mark.slow
def test_the_browsers_camera(tmp_path: Path):
    make_media(tmp_path)
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    camera += [f"--use-file-for-fake-video-capture={tmp_path / 'camera.mjpeg'}"]
    with served(tmp_path) as address, Browser(tmp_path / "profile", *camera) as browser:
        page = browser.open(address)
        browser.wait(page, "document.body?.innerText.includes('Threshold')")
        browser.run(page, COUNT_FRAMES)
        browser.click(page, "Click to Access Webcam")
        browser.click(page, "Record")
        browser.wait(page, "window.times.length > 60", 120)
        rate = browser.run(page, "1000 * (times.length - 31) / (times.at(-1) - times[30])")
        print(f"{rate:.1f} frames/s from and to the browser")
        green = 0
        for _ in range(20):
            data = browser.run(page, "window.last")
            frame = cv2.imdecode(np.frombuffer(b64decode(data.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
            excess = frame[..., 1].astype(int) - np.maximum(frame[..., 0], frame[..., 2])
            green = max(green, (excess > 25).mean())
        assert frame.shape == (480, 640, 3)
        assert 0.005 < green < 0.05
        browser.screenshot(page, tmp_path / "camera.png")
        assert browser.run(page, STOPPED) == "connect-src"
        assert browser.hosts() == {"127.0.0.1"}


@needs_gradio
@needs_chromium
@pytest.mark.slow
def test_files_of_two_visitors(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = make_media(tmp_path)
    with served(tmp_path) as address, Browser(tmp_path / "profile") as browser:
        page = browser.open(address)
        other = browser.open(address, width=390, dark=True)
        results = {}
        for each in (other, page):
            browser.click(each, "Pictures and videos", "[role=tab]")
            browser.wait(each, "!!document.querySelector('input[type=file][multiple]')", 20)
            browser.upload(each, "input[type=file][multiple]", files)
            browser.wait(each, "document.body?.innerText.includes('wrong')")
            time.sleep(1)
            browser.click(each, "Start")
            results[each] = browser.wait(each, f"(d => d.length >= 3 ? d : null)({DOWNLOADS})", 120)
            browser.screenshot(each, tmp_path / f"{'dark' if each == other else 'light'}.png")
        message = browser.run(page, "[...document.querySelectorAll('textarea')].map(t => t.value).join('')")
        mine = [download(result, tmp_path / f"page-{Path(result).name}") for result in results[page]]
        browser.close(other)
        end = time.monotonic() + 20
        while status(results[other][0]) == 200 and time.monotonic() < end:
            time.sleep(0.2)
        assert [status(results[each][0]) for each in (other, page)] == [403, 200]
        assert browser.hosts() == {"127.0.0.1"}

    assert [path.name for path in mine] == ["page-portrait.png", "page-clip.mp4", "page-faces.csv"]
    for path in files[:2]:
        assert ended(infer.main, "--source", path, "--output", f"own-{path.name}", "--no-window") == 0
    capsys.readouterr()
    assert ended(infer.main, "--source", files[2], "--output", "own.png", "--no-window") == 1
    assert (
        capsys.readouterr().err.strip().removeprefix("infer.py: ").replace(str(files[2]), "wrong.txt")
        == message
    )
    assert np.array_equal(read_image(mine[0]), read_image("own-portrait.png"))
    ours, theirs = (
        [frame.image for frame in iter(open_file(path).read, None)]
        for path in (mine[1], Path("own-clip.mp4"))
    )
    assert np.array_equal(ours, theirs) and len(ours) == 10
    assert len(mine[2].read_text().splitlines()) == 12  # a head, the picture's face, the video's ten
