"""What is written plays in a browser: python -m pytest -m slow tests/media"""

from __future__ import annotations

import functools
import http.server
import queue
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest
from clips import add_picture, copy_clip, make_clip
from scenes import background

from media.writers import VideoWriter

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGE = """<!doctype html><video muted autoplay src="{name}"></video><script>
const video = document.querySelector("video");
function tell(text) {{
    const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
    context.fillStyle = "rgb(0, 255, 0)";  // shows where the video is transparent
    context.fillRect(0, 0, 8, 8);
    context.drawImage(video, 0, 0, 8, 8);
    const size = `${{video.videoWidth}}x${{video.videoHeight}} ${{video.currentTime.toFixed(2)}} s`;
    const pixel = context.getImageData(4, 4, 1, 1).data, corner = context.getImageData(0, 0, 1, 1).data;
    fetch("/", {{method: "POST", body: `${{text}} ${{size}} pixel ${{pixel}} corner ${{corner}}`}});
}}
video.onended = () => tell("ended");
video.onerror = () => tell("failed: " + video.error.message);
</script>"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")]


class Handler(http.server.SimpleHTTPRequestHandler):
    said: queue.Queue = queue.Queue()

    def do_POST(self) -> None:
        self.said.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args) -> None:
        """Quiet."""


def play(folder, name: str) -> str:
    """Return what the page says at the end: 'ended 640x480 2.00 s pixel 1,2,3,255 corner 1,2,3,255'."""
    (folder / "page.html").write_text(PAGE.format(name=name))
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
    command += ["--autoplay-policy=no-user-gesture-required"]
    command += [f"http://127.0.0.1:{server.server_address[1]}/page.html"]
    browser = subprocess.Popen([*command, "--remote-debugging-port=0"], stderr=subprocess.DEVNULL)
    try:
        return Handler.said.get(timeout=60)
    finally:
        browser.terminate()
        browser.wait(timeout=30)
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_it_plays_to_its_end_in_the_right_colours(tmp_path, suffix):
    frames = [np.full((96, 128, 3), (30, 40, 220), np.uint8) for _ in range(50)]
    source = make_clip(tmp_path / "in.mov", frames, sound="pcm_s16le", colors=(1, 1))
    said = play(tmp_path, copy_clip(source, tmp_path / f"out{suffix}").name)
    assert re.match(r"ended 128x96 (1\.9|2\.0)\d s", said), said
    red, green, blue = map(int, re.search(r"pixel (\d+),(\d+),(\d+)", said).groups())
    assert max(abs(red - 220), abs(green - 40), abs(blue - 30)) <= 4


def test_a_cutout_shows_what_is_behind_it(tmp_path):
    picture = np.zeros((96, 128, 4), np.uint8)
    picture[36:72, 48:96] = (30, 40, 220, 255)
    video = VideoWriter(tmp_path / "out.webm", 25, transparent=True)
    for _ in range(25):
        add_picture(video, picture)
    video.close()
    said = play(tmp_path, "out.webm")
    face, behind = (list(map(int, colour.split(","))) for colour in re.findall(r"\d+(?:,\d+){3}", said))
    assert max(abs(face[0] - 220), abs(face[1] - 40), abs(face[2] - 30)) <= 8, said
    assert behind == [0, 255, 0, 255], said


def test_changing_rates_and_odd_sides_play_too(tmp_path):
    times = [0, 0.04, 0.08, 0.9, 1.0, 1.5]
    source = make_clip(tmp_path / "in.mkv", [background(96, 128, n) for n in range(6)], times=times)
    said = play(tmp_path, copy_clip(source, tmp_path / "out.mp4").name)
    assert re.match(r"ended 128x96 1\.5\d s", said), said
