"""infer.py from end to end: python -m pytest tests/test_infer.py"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import frames_of, length_of, make_clip, sound_of
from fakes import FakeCapture, FakeWindow
from PIL import Image
from programs import ended
from scenes import RedDetector, background, clip, draw_face, iou, left_quarter, red_runtime

import infer
from files.pictures import read_image, write_image
from media import pipeline, sources
from media import run as jobs
from media.player import Playback
from media.writers import Writer
from runtimes import choose
from utils import UserError

pytestmark = pytest.mark.usefixtures("red_world")
ROOT = Path(__file__).resolve().parent.parent
REAL_SIGNAL = signal.signal
GREEN = ("--color", "0,255,0", "--alpha", "1")


def run(*args: str) -> int:
    return ended(infer.main, *args)


def is_green(frame: np.ndarray) -> np.ndarray:
    blue, green, red = (frame[..., channel].astype(int) for channel in range(3))
    return (green > 150) & (blue < 110) & (red < 110)


def test_a_video_is_overlaid_frame_by_frame(capsys):
    truths = clip("in.mp4")
    assert run("--source", "in.mp4", "--output", "out/new.mp4", *GREEN) == 0
    frames = frames_of("out/new.mp4")
    assert len(frames) == 40 and frames[0].shape == (240, 320, 3)
    assert length_of("out/new.mp4") == pytest.approx(40 / 12.5)
    for frame, truth in zip(frames, truths):
        assert iou(is_green(frame), truth) > 0.85
    out, err = capsys.readouterr()
    assert out.startswith("40 frames in ") and out.strip().endswith("frames/s")
    assert err.count("no display") == 1


def test_stride_max_frames_timing_and_a_folder_as_output(capsys):
    clip("in.mp4")
    os.mkdir("out")
    assert run("--source", "in.mp4", "--output", "out", "--stride", "3", "--max-frames", "5", "--timing") == 0
    assert len(frames_of("out/in.mp4")) == 5
    out = capsys.readouterr().out
    assert "5 frames in" in out
    assert all(stage in out for stage in ("read", "prepare", "network", "smooth", "draw", "write"))


def test_side_by_side_is_twice_as_wide():
    clip("in.mp4", count=5)
    assert run("--source", "in.mp4", "--output", "out.mkv", "--view", "side-by-side", "--no-window") == 0
    assert frames_of("out.mkv")[0].shape == (240, 640, 3)


def test_a_picture_that_its_format_cannot_hold_does_not_stop_the_others(capsys):
    os.mkdir("photos")
    cv2.imwrite("photos/a.webp", np.zeros((64, 9000, 3), np.uint8))  # twice as wide is too wide for a .webp
    write_image("photos/b.png", background(64, 96))
    assert run("--source", "photos", "--output", "out", "--view", "side-by-side") == 1
    out, err = capsys.readouterr()
    assert "a.webp: cannot encode" in err and "1 done, 1 failed" in err
    assert "1 pictures in" in out and os.listdir("out") == ["b.png"]


def test_a_folder_of_pictures_with_a_broken_one(capsys):
    truths = {}
    for name, place in (("a.png", (100, 100)), ("b.png", (200, 150))):
        frame = background(240, 320)
        truths[name] = draw_face(frame, place, 50)
        write_image(f"photos/{name}", frame[..., ::-1])
    Path("photos/broken.png").write_bytes(b"no picture")
    Path("photos/._a.png").write_bytes(b"what macOS notes beside a.png")
    assert run("--source", "photos", "--output", "out", *GREEN) == 1
    out, err = capsys.readouterr()
    assert "broken.png" in err and "2 done, 1 failed" in err and "2 pictures in" in out
    assert sorted(os.listdir("out")) == ["a.png", "b.png"]
    for name, truth in truths.items():
        assert iou(is_green(read_image(f"out/{name}")[..., ::-1]), truth) > 0.9
        assert not is_green(read_image(f"photos/{name}")[..., ::-1]).any()  # the input is as it was


def test_one_picture_as_mask_and_as_cutout():
    frame = background(240, 320)
    truth = draw_face(frame, (150, 120), 60)
    write_image("in.png", frame[..., ::-1])
    assert run("--source", "in.png", "--output", "mask.png", "--view", "mask") == 0
    mask = Image.open("mask.png")
    assert mask.mode == "L" and set(np.unique(mask)) == {0, 255} and iou(np.array(mask) > 0, truth) > 0.95
    assert run("--source", "*.png", "--output", "cut", "--view", "cutout", "--stride", "1") == 0
    cut = np.array(Image.open("cut/in.png"))
    assert cut.shape == (240, 320, 4) and iou(cut[..., 3] > 127, truth) > 0.95
    inside = cut[..., 3] == 255
    np.testing.assert_array_equal(cut[inside][:, :3], frame[inside][:, ::-1])


def test_without_a_camera_the_sample_is_taken_and_it_is_said_once(capsys, monkeypatch):
    monkeypatch.setattr(jobs, "open_video", lambda spec, *how: sources.open_video("97", *how))
    assert run("--output", "out.mp4", "--max-frames", "3") == 0
    err = capsys.readouterr().err
    assert err.count("there is no camera 97: taking the sample instead") == 1
    assert frames_of("out.mp4")[0].shape == (480, 640, 3)


def test_without_a_display_something_must_come_out(capsys):
    assert run("--source", "sample") == 1
    err = capsys.readouterr().err
    assert err.count("no display") == 1 and "give an --output" in err
    assert run("--source", "sample", "--no-window") == 1
    assert "no display" not in capsys.readouterr().err
    assert run("--source", "sample", "--no-window", "--timing", "--max-frames", "2") == 0
    write_image("in.png", background(48, 64))
    assert run("--source", "in.png", "--no-window", "--timing") == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--source", "missing.mp4", "--output", "o.mp4"], "missing.mp4: no such file"),
        (["--source", "missing.png", "--output", "o.png"], "missing.png: no such file"),
        (["--source", "empty.mp4", "--output", "o.mp4"], "empty.mp4: the file is empty"),
        (["--source", "98", "--output", "o.mp4"], "there is no camera 98"),
        (["--source", "sample", "--output", "o.xyz"], "no video format"),
        (["--source", "in.mp4", "--output", "in.mp4"], "in.mp4 is one of the inputs"),
        (["--source", "in.mp4", "--output", "./link.mp4"], "link.mp4 is one of the inputs"),
        (["--source", "in.mov", "--output", "."], "in.mov is one of the inputs"),
        (["--source", "in.mp4", "--output", "in.png", "--view", "background:in.png"], "one of the inputs"),
        (["--source", "in.png", "--output", "in.png"], "one of the inputs"),
        (
            ["--source", "in.png", "--output", "b.png", "--view", "background:b.png"],
            "b.png is one of the input",
        ),
        (
            ["--source", "in.png", "--output", "o.jpg", "--view", "cutout"],
            "cannot hold a picture in this view",
        ),
        (["--source", "in.png", "--output", "o.png", "--view", "sepia"], "there is no view 'sepia'"),
        (["--source", "in.png", "--output", "o.png", "--view", "background:no.png"], "no.png: no such file"),
        (["--source", "in.png", "--virtual-camera"], "needs a video or a camera"),
        (["--source", "in.mp4", "--output", "in.png/o.mp4"], "cannot write in.png/o.mp4"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(args, message, capsys):
    clip("in.mp4", count=3)
    write_image("in.png", background(48, 64))
    Path("empty.mp4").write_bytes(b"")
    os.symlink("in.mp4", "link.mp4")
    os.link("in.mp4", "in.mov")
    write_image("b.png", background(48, 64))
    before = {name: Path(name).read_bytes() for name in os.listdir(".")}
    assert run(*args) == 1
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err
    assert {name: Path(name).read_bytes() for name in os.listdir(".")} == before


@pytest.mark.parametrize("option", ["--source", "--output", "--weights"])
def test_an_empty_option_is_refused(option, capsys):
    assert run(option, "") == 2
    assert f"{option} is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [
        ["--size", "100"],
        ["--threshold", "0"],
        ["--smooth", "1"],
        ["--stride", "0"],
        ["--max-frames", "0"],
        ["--find-every", "0"],
        ["--color", "mud"],
    ],
)
def test_options_out_of_range(args, capsys):
    assert run(*args) == 2
    assert args[0] in capsys.readouterr().err


def test_missing_weights_are_told(monkeypatch, capsys):
    monkeypatch.undo()
    assert run("--source", "sample", "--weights", "nothing.safetensors", "--no-window", "--timing") == 1
    assert "no weights at nothing.safetensors" in capsys.readouterr().err


def test_published_weights_are_fetched_on_request(monkeypatch):
    from runtimes import download

    monkeypatch.undo()
    opened = []
    monkeypatch.setattr(download, "fetch_published", lambda name: f"fetched {name}")
    monkeypatch.setattr(jobs, "open_runtime", lambda *how: opened.append(how) or red_runtime)
    assert (
        run("--source", "sample", "--weights", "published", "--no-window", "--timing", "--max-frames", "1")
        == 0
    )
    assert opened == [("fetched linknet", "auto", "auto", "auto")]


def test_a_truncated_video_is_done_as_far_as_it_goes_and_stays_unfinished(capsys):
    clip("whole.mkv", count=60)
    data = Path("whole.mkv").read_bytes()
    Path("cut.mkv").write_bytes(data[: len(data) // 2])
    for _ in range(2):  # which is not there the second time either
        assert run("--source", "cut.mkv", "--output", "out.mp4", "--skip-existing") == 1
        done = len(frames_of("out.unfinished.mp4"))
        err = capsys.readouterr().err
        assert f"wrote {Path('out.unfinished.mp4').resolve()}, which was cut off" in err
        assert 20 < done < 50 and "cut.mkv is cut off" in err and f"it ends after {done} of 60 frames" in err


def test_a_damaged_video_is_done_to_its_end_and_said(capsys):
    clip("in.mp4", count=60)
    data = bytearray(Path("in.mp4").read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 1500] = bytes(1500)
    Path("in.mp4").write_bytes(data)
    assert run("--source", "in.mp4", "--output", "out.mp4") == 0
    assert len(frames_of("out.mp4")) == 60
    err = capsys.readouterr().err
    assert "in.mp4: damaged or empty frames, in whose place the nearest good one stands: " in err


@pytest.mark.parametrize(
    "options, wanted", [((), 2.0), (("--no-audio",), 0.0), (("--max-frames", "25"), 1.0)]
)
def test_the_sound_is_kept(options, wanted):
    make_clip("in.mov", [background(96, 128)] * 50, sound="pcm_s16le")
    assert run("--source", "in.mov", "--output", "out.mp4", *options) == 0
    kind, seconds = sound_of("out.mp4")
    assert kind == ("aac" if wanted else "") and seconds == pytest.approx(wanted, abs=0.1)
    assert length_of("out.mp4") == pytest.approx(wanted or 2, abs=0.1)


def camera_of(frames: list, monkeypatch) -> None:
    monkeypatch.setattr(sources, "RETRY_SECONDS", 0.1)

    class Slow(FakeCapture):
        def grab(self) -> bool:
            time.sleep(0.02)
            return super().grab()

    monkeypatch.setattr(sources.cv2, "VideoCapture", lambda index: Slow(frames))


@pytest.mark.parametrize(
    "source, options, wanted",
    [
        ("0", (), 64),
        ("0", ("--size", "96"), 96),
        ("0", ("--view", "blur-face"), 224),
        ("in.mp4", (), 192),
    ],
)
def test_a_slow_processor_sees_a_camera_smaller(source, options, wanted, monkeypatch, capsys):
    sizes = []

    def seen(batch):
        sizes.append(max(batch.shape[2:]))
        return red_runtime(batch)

    seen.name = "red on CPU"
    clip("in.mp4", count=4)
    camera_of([background(48, 64, seed) for seed in range(30)], monkeypatch)
    monkeypatch.setattr(infer, "open_network", lambda options: seen)
    monkeypatch.setattr(choose, "seconds", lambda runtime, size: 0.3)
    monkeypatch.setattr(choose, "LIVE_SMALLEST", 64)
    assert run("--source", source, "--no-find", "--output", "o.mp4", "--max-frames", "3", *options) == 0
    assert set(sizes) == {wanted}
    told = "300 ms at 192 pixels here: taking 64" in capsys.readouterr().err
    assert told == (wanted == 64)


def test_a_camera_that_is_unplugged_leaves_a_playable_recording(monkeypatch, capsys):
    camera_of([background(48, 64, seed) for seed in range(30)], monkeypatch)
    assert run("--source", "0", "--output", "out.mp4") == 1
    assert "camera 0 stopped after 29 frames: was it unplugged" in capsys.readouterr().err
    assert len(frames_of("out.unfinished.mp4")) > 5


def test_a_cameras_cutouts_go_into_a_folder_that_is_there(monkeypatch):
    camera_of([background(48, 64, seed) for seed in range(30)], monkeypatch)
    os.mkdir("cut")
    assert run("--source", "0", "--output", "cut", "--view", "cutout", "--max-frames", "2") == 0
    assert sorted(os.listdir("cut")) == ["000001.png", "000002.png"]


def test_a_frozen_camera_is_told_once_and_is_no_success(monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "FROZEN_SECONDS", 0.1)
    camera_of([background(48, 64)] * 60, monkeypatch)
    assert run("--source", "0", "--output", "out.mp4", "--max-frames", "20") == 1
    assert capsys.readouterr().err.count("the same picture again and again") == 1


def test_a_stream_as_camera(server, capsys):
    stream = f"{server.url}/stream"
    assert run("--source", stream, "--output", "out.mp4", "--max-frames", "10", "--timing") == 0
    out = capsys.readouterr().out
    assert "10 frames in" in out and "latency" in out
    assert len(frames_of("out.mp4")) == 10
    assert run("--source", stream.replace("http", "rtsp"), "--output", "out2.mp4") == 1
    assert "check the address" in capsys.readouterr().err


def test_what_is_asked_of_cameras_and_streams_reaches_them(monkeypatch):
    asked = []

    def open_video(*how):
        asked.append(how)
        raise UserError("nothing is there")

    monkeypatch.setattr(jobs, "open_video", open_video)
    options = ("--stride", "3", "--reconnect", "7", "--camera-size", "64x48", "--camera-rate", "9")
    assert run("--source", "0", "--output", "out.mp4", *options) == 1
    assert asked == [("0", 3, 7, (64, 48), 9)]


def test_a_server_that_is_sent_to_is_tried_for_as_long_as_asked(monkeypatch):
    told, open_live = [], jobs.open_live

    def note(*how, **more):
        told.append(open_live(*how, **more))
        return told[-1]

    monkeypatch.setattr(jobs, "open_live", note)
    clip("in.mp4", count=2)
    assert run("--source", "in.mp4", "--output", "udp://127.0.0.1:9", "--reconnect", "7") == 0
    assert [output.patience for output in told] == [7]


def test_a_virtual_camera_gets_each_frame(monkeypatch):
    class Camera(Writer):
        live = True

        def write(self, picture: np.ndarray, at: float, until: float) -> None:
            shown.append(picture)

    shown = []
    monkeypatch.setattr(jobs, "VirtualCamera", lambda rate: Camera())
    truths = clip("in.mp4", count=4)
    assert run("--source", "in.mp4", "--virtual-camera", "--no-window", *GREEN) == 0
    assert all(iou(is_green(picture), truth) > 0.85 for picture, truth in zip(shown, truths, strict=True))


def count_of_detections(monkeypatch) -> list:
    """Return a list that grows by one each time that the detector runs."""
    calls = []

    class Counting(RedDetector):
        def detect(self, frame: np.ndarray, turned: bool = False) -> list:
            calls.append(frame.shape)
            return super().detect(frame, turned)

    monkeypatch.setattr(jobs, "Detector", Counting)
    return calls


@pytest.mark.parametrize(
    "options, count", [((), 5), (("--view", "blur-face"), 16), (("--find-every", "2"), 31)]
)
def test_to_hide_faces_more_frames_of_a_video_are_looked_at(monkeypatch, options, count):
    clip("in.mp4", count=60, rate=30)
    calls = count_of_detections(monkeypatch)
    assert run("--source", "in.mp4", "--output", "out.mp4", *options) == 0
    assert len(calls) == count  # every half second, or every 4th frame, and the last one


def test_to_hide_faces_each_frame_of_a_camera_is_looked_at(monkeypatch):
    calls = count_of_detections(monkeypatch)
    for view in ("blur-face", "overlay"):
        calls.clear()
        camera_of([background(48, 64)] * 30, monkeypatch)
        assert run("--source", "0", "--output", "out.mp4", "--view", view, "--max-frames", "10") == 0
        assert len(calls) >= 10 if view == "blur-face" else 1 <= len(calls) < 10


def test_a_slow_processors_camera_hides_faces_at_the_full_size(monkeypatch):
    sizes = []

    def watched(batch: np.ndarray) -> np.ndarray:
        sizes.append(max(batch.shape[2:]))
        return red_runtime(batch)

    watched.name = "watched"
    monkeypatch.setattr(infer, "open_network", lambda options: watched)
    camera_of([background(48, 64, seed) for seed in range(60)], monkeypatch)
    monkeypatch.setattr(infer, "open_window", lambda title: FakeWindow("....vvvv" + "." * 3 + "q"))
    monkeypatch.setattr(choose, "seconds", lambda runtime, size: 0.3)
    monkeypatch.setattr(choose, "LIVE_SMALLEST", 64)
    assert run("--source", "0") == 0
    assert sizes[0] == 64 and sizes[-1] == 224


def test_numbers_are_drawn_at_the_full_size_without_a_word_of_a_smaller_one(monkeypatch):
    camera_of([background(48, 64, seed) for seed in range(20)], monkeypatch)
    monkeypatch.setattr(infer, "open_window", lambda title: FakeWindow("...q"))
    monkeypatch.setattr(choose, "seconds", lambda runtime, size: pytest.fail("it was timed"))
    assert run("--source", "0", "--view", "numbers") == 0


def test_a_file_that_the_user_ends_while_it_is_written_is_cut_off(monkeypatch, capsys):
    clip("in.mp4", count=12)
    for keys, more, status in (("....q", ["--output", "out.mp4"], 1), ("..r..q", ["--folder", "mine"], 0)):
        monkeypatch.setattr(infer, "open_window", lambda title, keys=keys: FakeWindow(keys))
        assert run("--source", "in.mp4", *more) == status
    assert "out.unfinished.mp4, which was cut off" in capsys.readouterr().err
    assert len([*Path("mine").glob("recording-*.mp4")]) == 1
    monkeypatch.setattr(infer, "open_window", lambda title: FakeWindow("....q"))
    assert run("--source", "in.mp4", "--output", "pictures", "--view", "cutout") == 1
    assert "wrote pictures, which was cut off after 5 pictures" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["sample", "in.png"])
def test_a_snapshot_that_cannot_be_written_is_no_success(monkeypatch, source, capsys):
    write_image("in.png", background(48, 64))
    Path("file").write_text("in the way")
    for folder, status in (("file", 1), ("snapshots", 0)):
        monkeypatch.setattr(infer, "open_window", lambda title: FakeWindow("s.q"))
        assert run("--source", source, "--folder", folder) == status
    assert "cannot write file" in capsys.readouterr().err


def test_ctrl_c_does_not_stop_the_finishing_of_a_recording(monkeypatch):
    def finish(playback, finished):
        os.kill(os.getpid(), signal.SIGINT)
        close(playback, finished)

    close, before = Playback.close, signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Playback, "close", finish)
    monkeypatch.setattr(infer.signal, "signal", REAL_SIGNAL)
    try:
        assert run("--source", "sample", "--output", "out.mp4", "--max-frames", "3") == 0
        assert len(frames_of("out.mp4")) == 3
        with pytest.raises(KeyboardInterrupt):  # it is heard again
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP):
            REAL_SIGNAL(number, before)


@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.SIG_IGN])  # the second is nohup's
def test_a_terminal_that_closes_ends_it_in_order_unless_under_nohup(monkeypatch, before):
    handlers = {signal.SIGHUP: before}
    monkeypatch.setattr(infer.signal, "getsignal", handlers.get)
    monkeypatch.setattr(infer.signal, "signal", handlers.__setitem__)
    assert run("--source", "none.mp4", "--output", "out.mp4") == 1
    assert handlers[signal.SIGTERM] is infer.interrupted
    assert handlers[signal.SIGHUP] is (infer.interrupted if before is signal.SIG_DFL else before)


@pytest.mark.parametrize("options, both", [((), True), (("--no-flip",), False)])
def test_pictures_are_looked_at_in_the_mirror_too(options, both, monkeypatch):
    monkeypatch.setattr(infer, "open_network", lambda options: left_quarter)
    write_image("a.png", background(64, 64))
    assert (
        run("--source", "a.png", "--output", "m.png", "--view", "mask", "--size", "64", "--no-find", *options)
        == 0
    )
    mask = read_image("m.png")[32] > 127
    assert mask[:16].all() and not mask[16:48].any() and mask[48:].all() == both


def script(*args: str) -> list:
    return [sys.executable, str(ROOT / "infer.py"), "--size", "64", *args]


def test_standard_output_holds_the_video_alone(random_weights):
    command = script("--source", "sample", "--output", "-", "--weights", str(random_weights))
    done = subprocess.run([*command, "--max-frames", "8", "--timing"], capture_output=True, timeout=300)
    Path("o.ts").write_bytes(done.stdout)
    assert done.returncode == 0 and len(frames_of("o.ts")) == 8
    assert b"8 frames in" in done.stderr and os.listdir(".") == ["o.ts"]


def test_the_script_with_a_real_network(random_weights):
    clip("in.mp4", count=10)
    command = script("--source", "in.mp4", "--output", "out.mp4", "--weights", str(random_weights))
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.startswith("10 frames in ") and "Traceback" not in done.stderr
    assert len(frames_of("out.mp4")) == 10


@pytest.mark.parametrize(
    "which, runtime",
    [(signal.SIGINT, "openvino"), (signal.SIGTERM, "openvino"), (signal.SIGINT, "oneflow")],
)
def test_an_interrupted_recording_is_kept_and_plays(random_weights, which, runtime):
    command = script("--source", "sample", "--output", "out.mp4", "--weights", str(random_weights))
    process = subprocess.Popen(
        [*command, "--max-frames", "100000", "--runtime", runtime, "--size", "64"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    give_up = time.monotonic() + 200
    while time.monotonic() < give_up and not any(
        path.stat().st_size > 100_000 for path in Path(".").glob("out.unfinished.mp4")
    ):
        time.sleep(0.1)
    process.send_signal(which)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 128 + which and "interrupted" in err and "Traceback" not in err
    frames = frames_of("out.unfinished.mp4")
    counted = int(out.split()[0])
    assert len(frames) > 2 and counted <= len(frames) <= counted + 1  # one may be written, not yet counted
    assert os.listdir(".") == ["out.unfinished.mp4"]
