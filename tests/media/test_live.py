"""Live outputs, with FFmpeg at the other end, on the loopback: python -m pytest tests/media/test_live.py"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make_clip
from scenes import background

from media import live
from media.frames import Sound
from media.live import LiveOutput, VirtualCamera, is_live, open_live
from media.player import Playback
from media.sources import open_video
from utils import UserError

ROOT = Path(__file__).resolve().parents[2]
RED = np.full((96, 128, 3), (30, 40, 220), np.uint8)  # BGR
LISTEN = {  # what makes FFmpeg a server, by what an address begins with
    "rtsp": {"rtsp_flags": "listen", "listen_timeout": "20"},
    "rtmp": {"listen": "1"},
    "tcp": {},
    "udp": {},
}


class Receiver:
    """FFmpeg as the other end of an address, in a thread: it takes so many frames, and goes away."""

    def __init__(self, address: str, count: int = 1000):
        self.address, self.count = address, count
        self.frames, self.kinds = [], []
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()
        wait_for_port(int(re.search(r":(\d+)", address).group(1)))

    def _receive(self) -> None:
        options = {
            **LISTEN[self.address.partition(":")[0]],
            "probesize": "20000",
            "analyzeduration": "500000",
        }
        try:
            with av.open(self.address, options=options, timeout=3) as file:
                self.kinds = [stream.codec_context.name for stream in file.streams]
                for frame in file.decode(video=0):
                    self.frames.append(frame.to_ndarray(format="bgr24"))
                    if len(self.frames) == self.count:
                        return
        except (OSError, av.error.FFmpegError):
            """The sender has gone."""

    def wait(self) -> list[np.ndarray]:
        self.thread.join(30)
        return self.frames


def address_of(protocol: str) -> str:
    """Return an address with a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"{protocol}://127.0.0.1:{free.getsockname()[1]}/live/face"


def wait_for_port(port: int) -> None:
    """Wait until a server on this machine is ready: to connect would take its one connection."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        if any(f":{port:04X} " in Path(f"/proc/net/{kind}").read_text() for kind in ("tcp", "udp")):
            return
        time.sleep(0.02)
    raise TimeoutError


def send(output: LiveOutput, seconds: float, rate: float = 50) -> None:
    for number in range(round(seconds * rate)):
        output.write(RED, number / rate, (number + 1) / rate)
        time.sleep(1 / rate)


@pytest.mark.parametrize("protocol", LISTEN)
def test_frames_arrive(protocol, tmp_path):
    address = address_of(protocol)
    if protocol in ("udp", "tcp"):
        address = address.removesuffix("/live/face")
    source = open_video(str(make_clip(tmp_path / "in.mp4", [RED] * 50, 50, sound="aac", seconds=2)))
    count = 40 if protocol == "udp" else 1000  # nobody tells when UDP ends
    receiver = Receiver(address + "?listen=1" * (protocol == "tcp"), count)
    output = open_live(address, source.rate, source.colors, source.sound)
    while (frame := source.read()) is not None:
        output.write(frame.image, frame.at, frame.until)
        time.sleep(0.02)
    output.close()
    frames = receiver.wait()
    assert receiver.kinds == ["h264", "aac"] and len(frames) >= 40
    assert np.abs(frames[-1][48, 64].astype(int) - RED[0, 0]).max() <= 4
    assert output.outcome() == f"encoded 50 frames for {address}"


@pytest.mark.parametrize("protocol", ["rtmp", "tcp"])
def test_pictures_do_not_wait_for_a_sound_that_does_not_come(protocol, tmp_path):
    source = open_video(str(make_clip(tmp_path / "in.mp4", [RED] * 5, sound="aac")))  # which nobody reads
    address = address_of(protocol) if protocol == "rtmp" else address_of(protocol).removesuffix("/live/face")
    receiver = Receiver(address + "?listen=1" * (protocol == "tcp"))
    output = open_live(address, 50, sound=source.sound)
    send(output, 2)
    assert len(receiver.frames) > 40
    output.close()
    receiver.wait()


def test_a_server_that_goes_away_is_connected_again(monkeypatch, caplog):
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.2)
    address = address_of("rtsp")
    first = Receiver(address, count=20)
    output = open_live(address, 50, patience=20)
    send(output, 0.8)
    assert len(first.wait()) == 20
    second = Receiver(address, count=10)
    send(output, 1.2)
    assert len(second.wait()) == 10
    with pytest.raises(OSError, match=r"stopped after \d+ frames: "):
        send(output, 0.5)
        output.close()
    assert any("broke off after" in said and "connecting again" in said for said in caplog.messages)
    assert "were dropped while it was away" in output.outcome()


def test_sound_from_before_the_connection_is_not_sent(tmp_path, monkeypatch):
    sent, take = [], Sound.take

    def noted(sound, until):
        packets = list(take(sound, until))
        sent.append([float(packet.pts * packet.time_base) for packet in packets])
        return packets

    monkeypatch.setattr(Sound, "take", noted)
    source = open_video(str(make_clip(tmp_path / "in.mp4", [RED] * 50, sound="aac")))
    output = open_live("udp://127.0.0.1:9", 25, None, source.sound)
    list(iter(source.read, None))
    output.write(RED, 1.0, 1.04)
    output.close()
    assert min(sent[1]) > 0.9 and len(sent[1]) < 5  # what goes with the picture


def test_a_server_that_stays_away_ends_it(monkeypatch):
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.1)
    address = address_of("rtsp")
    receiver = Receiver(address, count=5)
    output = open_live(address, 50, patience=0.5)
    with pytest.raises(OSError, match=rf"^{address} stopped after \d+ frames: "):
        send(output, 5)
    assert receiver.wait()


def test_a_server_that_is_not_there_is_told_at_once_and_no_password():
    address = address_of("rtsp")
    for user, why in (("admin:secret@", "refused; check the address, and .* runs$"), ("a:se/cret@", "%2F")):
        with pytest.raises(OSError, match=why) as told:
            send(open_live(address.replace("://", f"://{user}"), 50), 2)
        assert "cret" not in str(told.value)


@pytest.mark.parametrize("answers", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_server_that_takes_nothing_of_what_ends_at_once_is_told_all_the_same(answers):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            for _ in range(2 * answers):
                with contextlib.suppress(OSError), server.accept()[0] as client:
                    while client.recv(4096):
                        client.sendall(b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        output = open_live(f"rtsp://127.0.0.1:{server.getsockname()[1]}/face", 25)
        with pytest.raises(OSError, match="cannot write to rtsp"):  # sooner or later
            output.write(RED, 0, 0.04)
            output.close()


def test_what_looks_like_an_address_is_no_file():
    for output in ("-", "pipe:1", "rtsp://host/a", "RTMP://host/a/b", "udp:/host", "foo://bar"):
        assert is_live(output)
    for output in ("out.mp4", "12:30.mp4", "a/-", "out/rtsp"):
        assert not is_live(output)


def test_an_address_that_nothing_can_be_sent_to():
    with pytest.raises(UserError, match=r"http://a/b: nothing can be sent there; use rtsp://, rtmp://"):
        open_live("http://me:secret@a/b", 25)


def test_what_is_sent_has_its_own_speed_and_a_pipe_has_none():
    class Player:
        window = view = None

    source = types.SimpleNamespace(live=False)
    for address, paced in (("udp://127.0.0.1:9", True), ("pipe:9", False)):
        assert Playback(Player(), source, [open_live(address, 25)]).paced == paced


def test_standard_output_holds_the_video_and_nothing_else(tmp_path, random_weights):
    source = make_clip(tmp_path / "in.mp4", [background(96, 128, n) for n in range(10)], sound="aac")
    command = [sys.executable, str(ROOT / "infer.py"), "--source", str(source), "--output", "-", "--timing"]
    command += ["--weights", str(random_weights), "--size", "64"]
    done = subprocess.run(command, capture_output=True, timeout=100, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    packets = [done.stdout[start : start + 188] for start in range(0, len(done.stdout), 188)]
    assert all(packet[:1] == b"G" and len(packet) == 188 for packet in packets)
    with av.open(io.BytesIO(done.stdout)) as file:
        assert [stream.codec_context.name for stream in file.streams] == ["h264", "aac"]
        assert sum(1 for _ in file.decode(video=0)) == 10
    said = done.stderr.decode()
    assert "10 frames in " in said and "sent 10 frames to standard output" in said and "write" in said
    assert os.listdir(tmp_path) == ["in.mp4"]


def test_a_reader_that_reads_nothing_does_not_keep_anybody(tmp_path):
    reader, pipe = os.pipe()
    output = open_live(f"pipe:{pipe}", 25, crf=0)
    alarm = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    alarm.start()
    with pytest.raises(KeyboardInterrupt):
        for seed in range(1000):
            output.write(background(240, 320, seed), seed / 25, (seed + 1) / 25)
    output.close()
    os.close(reader)
    os.close(pipe)


def test_who_comes_late_can_begin_within_a_second():
    reader, pipe = os.pipe()
    output = open_live(f"pipe:{pipe}", 10)
    for number in range(30):
        output.write(RED, number / 10, (number + 1) / 10)
    output.close()
    with av.open(io.BytesIO(os.read(reader, 1 << 20))) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == [0, 10, 20]
    os.close(reader)
    os.close(pipe)


def test_a_reader_that_goes_away_ends_it():
    reader, pipe = os.pipe()
    output = open_live(f"pipe:{pipe}", 25)
    output.write(RED, 0, 0.04)
    os.close(reader)
    with pytest.raises(OSError, match="cannot write standard output: Broken pipe"):
        output.write(RED, 0.04, 0.08)
    os.close(pipe)


def test_at_the_end_nobody_is_waited_for_without_end():
    reader, pipe = os.pipe()
    output = open_live(f"pipe:{pipe}", 25)
    output.write(RED, 0, 0.04)
    output.encoded.write(bytes(1 << 20))  # more than a pipe holds
    later = threading.Timer(5, os.close, [reader])
    later.start()
    with pytest.raises(OSError, match="nobody reads it"):
        output.close(finished=False)
    later.cancel()
    os.close(reader)
    os.close(pipe)


def test_a_slow_reader_gets_the_end_too(tmp_path):
    source = open_video(str(make_clip(tmp_path / "in.mov", [RED] * 25, sound="pcm_s16le")))
    reader, pipe = os.pipe()
    output = open_live(f"pipe:{pipe}", 25, None, source.sound)
    for frame in iter(source.read, None):
        output.write(frame.image, frame.at, frame.until)
    source.sound.ended = True
    while select.select([], [pipe], [], 0)[1]:
        os.write(pipe, bytes(select.PIPE_BUF))  # it is full when the end comes
    timer = threading.Timer(2.0, os.read, (reader, 1 << 20))
    timer.start()
    output.close()
    timer.join()
    assert os.read(reader, 1 << 20)
    os.close(reader)
    os.close(pipe)


class StubCamera:
    made = None

    def __init__(self, width: int, height: int, fps: float, fmt: str):
        self.width, self.height, self.fps, self.fmt = width, height, fps, fmt
        self.sent, self.closed = [], False
        StubCamera.made = self

    def send(self, picture: np.ndarray) -> None:
        self.sent.append(picture)

    def close(self) -> None:
        self.closed = True


def stub_package(camera) -> types.ModuleType:
    package = types.ModuleType("pyvirtualcam")
    package.Camera, package.PixelFormat = camera, types.SimpleNamespace(BGR="BGR")
    return package


def test_virtual_camera_sends_bgr_frames(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", stub_package(StubCamera))
    camera = VirtualCamera(30)
    frame = background(48, 64)
    camera.write(frame, 0, 1)
    camera.write(background(48, 128), 1, 2)
    camera.close()
    made = StubCamera.made
    assert (made.width, made.height, made.fps, made.fmt, made.closed) == (64, 48, 30, "BGR", True)
    np.testing.assert_array_equal(made.sent[0], frame)
    assert made.sent[1].shape == (48, 64, 3)


def test_virtual_camera_without_its_package_or_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(OSError, match="pip install pyvirtualcam"):
        VirtualCamera(30)

    def no_driver(*size, **how):
        raise RuntimeError("no device")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", stub_package(no_driver))
    with pytest.raises(OSError, match=r"no virtual camera .*no device.*v4l2loopback"):
        VirtualCamera(30).write(background(48, 64), 0, 1)
