"""Network streams on the loopback: python -m pytest tests/media/test_streams.py"""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import make_clip
from scenes import background

from files.pictures import read_image
from media import streams
from media.sources import open_video
from media.streams import Stream, fetched, is_picture_address, open_address, printable
from media.videos import VideoFile
from utils import UserError


def test_a_stream_is_live_and_its_end_is_told(server):
    source = open_video(f"{server.url}/stream", patience=0)
    levels, times = [], []
    with pytest.raises(UserError, match=r"stopped after \d+ frames"):
        while True:
            frame = source.read()
            levels.append(frame.image.mean())
            times.append(frame.at)
    source.close()
    assert isinstance(source, Stream) and source.live and len(levels) > 30 and (np.diff(levels) > 2).all()
    assert (np.diff(times) > 0).all() and 0.2 < times[-1] < 5  # by the clock: it does not say its times


def test_a_stream_that_breaks_off_is_connected_again(server, caplog, monkeypatch):
    caplog.set_level("INFO")
    closed, close = [], VideoFile.close
    monkeypatch.setattr(VideoFile, "close", lambda video: closed.append(video) or close(video))
    source = open_video(f"{server.url}/stream", patience=20)
    frames = [source.read() for _ in range(100)]
    source.close()
    assert server.RequestHandlerClass.connections == len(closed) == 3
    assert caplog.text.count("connecting again") == 2
    times = [frame.at for frame in frames]
    assert (np.diff(times) > 0).all() and [frame.index for frame in frames] == list(range(100))


def test_a_stream_without_times_goes_on_by_the_clock_when_it_is_connected_again(server, tmp_path):
    frames = [background(48, 64, number) for number in range(25)]
    data = make_clip(tmp_path / "a.h264", frames, tune="zerolatency").read_bytes()

    def send(self) -> None:
        self.send_response(200)
        self.end_headers()
        for start in range(0, len(data), len(data) // 25):
            self.wfile.write(data[start : start + len(data) // 25])
            time.sleep(0.02)

    server.RequestHandlerClass.do_GET = send
    source = open_video(f"{server.url}/camera", patience=10)
    times = [source.read().at for _ in range(60)]
    source.close()
    assert (np.diff(times) > 0).all() and times[-1] - times[0] > 1


def test_a_stream_that_falls_silent_is_connected_again_however_short_the_patience(server, monkeypatch):
    monkeypatch.setattr(streams, "ANSWER_SECONDS", 1)
    handler = server.RequestHandlerClass
    send_frames = handler.send_frames

    def fall_silent(self) -> None:
        send_frames(self)
        time.sleep(3 if self.connections == 1 else 0)

    monkeypatch.setattr(handler, "send_frames", fall_silent)
    source = open_video(f"{server.url}/stream", patience=0.7)  # less than it takes to notice
    frames = [source.read() for _ in range(60)]
    source.close()
    assert handler.connections == 2 and frames[-1].at - frames[0].at > 1  # of the recording nothing is cut


def test_a_stream_that_does_not_come_back(server):
    source = open_video(f"{server.url}/stream", patience=0.8)
    source.read()
    server.RequestHandlerClass.do_GET = lambda self: self.send_error(503)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"stopped after \d+ frames"):
        while True:
            source.read()
    assert 0.5 < time.monotonic() - start < 10


def test_a_stream_that_nobody_serves():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"//name:secret@127.0.0.1:{free.getsockname()[1]}/stream"
        for kind in ("http", "rtsp"):
            with pytest.raises(UserError, match=r"cannot be opened: .*check the address") as caught:
                open_video(f"{kind}:{address}")
            assert "secret" not in str(caught.value)


def test_a_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(streams, "ANSWER_SECONDS", 1)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        start = time.monotonic()
        with pytest.raises(UserError, match="cannot be opened"):
            open_video(f"http://127.0.0.1:{mute.getsockname()[1]}/stream")
        assert time.monotonic() - start < 20


def test_a_video_behind_an_address_is_read_like_a_file(server, tmp_path):
    path = make_clip(tmp_path / "a.mp4", [background(48, 64)] * 7, movflags="faststart")
    server.RequestHandlerClass.files["/clip.mp4"] = path.read_bytes()
    source = open_address(f"{server.url}/clip.mp4")
    assert isinstance(source, VideoFile) and not source.live
    assert sum(1 for _ in iter(source.read, None)) == 7
    source.close()


def test_a_server_cannot_have_files_read_here(server, tmp_path):
    private = make_clip(tmp_path / "a.ts", [background(48, 64)] * 7)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{private.as_uri()}\n#EXT-X-ENDLIST\n"
    files = server.RequestHandlerClass.files
    files["/clip.mp4"] = files["/list.m3u8"] = playlist.encode()
    files["/more.mp4"] = f"ffconcat version 1.0\nfile {private.as_uri()}\n".encode()
    for name in files:
        with pytest.raises(UserError):
            open_address(server.url + name).read()


def test_the_sound_of_a_stream_keeps_its_time(server, tmp_path):
    path = make_clip(tmp_path / "a.ts", [background(48, 64)] * 25, sound="aac")
    server.RequestHandlerClass.files["/a.ts"] = path.read_bytes()
    source = open_address(f"{server.url}/a.ts", patience=0)
    source.sound.wanted = True
    frames = [source.read() for _ in range(20)]
    sound = [float(packet.pts * packet.time_base) for packet in source.sound.take(99)]
    source.close()
    assert source.live and frames[19].at - frames[0].at == pytest.approx(19 / 25, abs=1e-3)
    assert sound[0] == pytest.approx(0, abs=0.1) and len(sound) > 20


@pytest.mark.parametrize("secret", ["pw", "p@ss", "secret#1", "a/b", "a?b", "http://x"])
def test_passwords_are_not_shown(secret):
    assert printable(f"rtsp://me:{secret}@host:554/a") == "rtsp://host:554/a"
    assert printable(f"rtmp:me:{secret}@host/live") == "rtmp:host/live"
    assert printable("http://host/a?b=c") == "http://host/a?b=c"


@pytest.mark.parametrize("kind", ["rtsp", "http"])
def test_what_to_write_in_a_password_is_said(kind):
    with pytest.raises(UserError, match=r"# is written %23, / %2F, \? %3F") as told:
        open_video(f"{kind}://admin:secret#1@127.0.0.1:9/stream")
    assert "secret" not in str(told.value) and "admin" not in str(told.value)


@pytest.mark.parametrize("password", ["se/cret", "secret#1", "se?cret", "[secret", "se\u2100cret"])
def test_no_part_of_a_pictures_password_is_shown(password):
    address = f"http://admin:{password}@127.0.0.1:9/a.jpg"
    with (
        pytest.raises(UserError, match=r"is no valid address \(a space") as told,
        fetched(address),
    ):
        pass
    assert "se" not in str(told.value).partition("; ")[0] and "admin" not in str(told.value)


def test_an_address_that_lacks_a_slash_is_one_all_the_same():
    with pytest.raises(UserError, match="cannot be opened") as told:
        open_video("http:/admin:secret@127.0.0.1:9/a.mp4")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("pause, why", [(0, ""), (3, "nothing came in time")])
def test_a_video_behind_an_address_that_breaks_off(server, tmp_path, monkeypatch, pause, why):
    monkeypatch.setattr(streams, "ANSWER_SECONDS", 1)
    frames = [background(96, 128, seed) for seed in range(20)]
    data = make_clip(tmp_path / "a.mkv", frames).read_bytes()
    half = len(data) // 2

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:half])
        time.sleep(pause)

    server.RequestHandlerClass.do_GET = do_GET
    source = open_address(server.url.replace("://", "://me:secret@") + "/cut.mkv")
    with pytest.raises(UserError, match=rf"^{server.url}/cut.mkv broke off after \d+ frames: {why}") as told:
        list(iter(source.read, None))
    source.close()
    assert source.index > 3 and "secret" not in str(told.value)


def test_a_picture_at_an_address_without_an_ending(server):
    handler = server.RequestHandlerClass
    handler.files["/photo?id=3"] = cv2.imencode(".jpg", background(48, 64))[1].tobytes()
    assert is_picture_address(f"{server.url}/photo?id=3")
    with fetched(f"{server.url}/photo?id=3") as path:
        assert np.abs(read_image(path)[..., ::-1].astype(int) - background(48, 64)).mean() < 4
    assert not is_picture_address("http.jpg")  # a file
    assert not is_picture_address(f"{server.url}/stream") and not is_picture_address("rtsp://host/photo")
    before = handler.connections
    assert not is_picture_address(f"{server.url}/a.mp4") and is_picture_address(f"{server.url}/a.JPG?size=3")
    assert handler.connections == before  # these are told by their endings


def test_no_more_is_fetched_than_is_asked_for(server):
    server.RequestHandlerClass.files["/a.jpg"] = b"0123456789"
    assert streams.get(f"{server.url}/a.jpg", 4)[1] == b"0123"


def answer(head: str, *body: bytes, pause: float = 0.0):
    """Return what a server does that gives this answer."""

    def do_GET(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.wfile.write(f"HTTP/1.0 {head}\r\n\r\n".encode())
            for part in body:
                time.sleep(pause)
                self.wfile.write(part)

    return do_GET


@pytest.mark.parametrize(
    "do_GET, message",
    [
        (answer("200 OK\r\nContent-Length: 99", *[b"x"] * 99, pause=0.1), "it takes more than 0.5 s"),
        (answer("204 No Content"), "the file is empty"),
        (answer("200 OK", b"no picture"), "not a picture"),
        (answer("302 Found\r\nLocation: http://[::bad/"), "cannot be fetched"),
        (answer("302 Found\r\nLocation: file:///etc/hostname"), "cannot be fetched"),
        (answer("404 Not Found"), "cannot be fetched: HTTP Error 404"),
    ],
)
def test_servers_that_give_no_picture(server, monkeypatch, do_GET, message):
    monkeypatch.setattr(streams, "FETCH_SECONDS", 0.5)
    monkeypatch.setattr(streams, "ANSWER_SECONDS", 1)
    server.RequestHandlerClass.do_GET = do_GET
    address, start = f"{server.url}/a.jpg", time.monotonic()
    with pytest.raises(UserError, match=message) as told, fetched(address):
        pass
    assert str(told.value).startswith(address) and time.monotonic() - start < 5
    with pytest.raises(UserError):
        open_video(f"{server.url}/a.mp4", patience=0).read()


def test_the_password_of_a_pictures_address_goes_to_its_server_alone(server):
    handler, asked = server.RequestHandlerClass, []
    handler.files["/b.jpg"] = picture = cv2.imencode(".jpg", background(48, 64))[1].tobytes()

    def do_GET(self):
        asked.append((self.path, self.headers["Authorization"]))
        if self.path == "/a.jpg":
            self.send_response(302)
            self.send_header("Location", f"{server.url}/b.jpg")
            self.end_headers()
        else:
            self.send_file()

    handler.do_GET = do_GET
    with fetched(server.url.replace("://", "://me:p%40s@s@") + "/a.jpg") as path:
        assert Path(path).read_bytes() == picture
    assert asked == [("/a.jpg", f"Basic {base64.b64encode(b'me:p@s@s').decode()}"), ("/b.jpg", None)]
    with pytest.raises(UserError) as told, fetched("http://me:secret@127.0.0.1:99999/a.jpg"):
        pass
    assert "secret" not in str(told.value)
