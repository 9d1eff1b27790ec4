"""Drawing, writing, and keys: python -m pytest tests/media/test_player.py"""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from fakes import FakeWindow
from PIL import Image
from scenes import RedDetector, background, draw_face, red_runtime

from faces.mask import Mask, Region
from faces.segmenter import segment_picture
from media import player as player_module
from media.colors import Colors
from media.frames import Frame, LiveSource, Result, Source
from media.options import Options
from media.player import Playback, Player
from media.shapes import Style
from media.videos import open_file
from media.views import VIEWS, parse_view
from media.writers import VideoWriter, Writer

FILE, CAMERA = Source("clip.mp4", 25.0), LiveSource("camera 0", 25.0)


@pytest.fixture
def result() -> Result:
    frame = background(120, 160)
    draw_face(frame, (90, 60), 30)
    mask = segment_picture(red_runtime, RedDetector(), frame)
    return Result(Frame(frame, 0, time.perf_counter(), 0.0, 0.04), mask)


def make(
    window: FakeWindow | None, folder, sinks=(), stream: Source = CAMERA, view: str = "overlay"
) -> Playback:
    return Playback(Player(Options(view=view, folder=folder), window), stream, sinks)


def test_without_a_window_pictures_are_written_as_the_view_gives_them(tmp_path, result):
    written = []

    class Sink(Writer):
        def write(self, picture, at, until):
            written.append((picture.copy(), at, until))

        def close(self, finished):
            written.append(finished)

    wanted = parse_view("overlay").draw(result.frame.image.copy(), result.mask, Style())
    player = make(None, tmp_path, [Sink()], CAMERA)
    assert player.play(result) and player.count == 1
    player.close(finished=False)
    np.testing.assert_array_equal(written[0][0], wanted)
    assert written[0][1:] == (0.0, 0.04) and written[1] is False


@pytest.mark.parametrize(("key", "goes_on"), [("q", False), ("", True), ("x", True)])
def test_q_ends_it(tmp_path, result, key, goes_on):
    assert make(FakeWindow(key), tmp_path).play(result) is goes_on


@pytest.mark.parametrize("faces", [True, False])
def test_faces_not_faint_pixels_are_what_was_found(tmp_path, result, faces):
    faint = Mask(np.full((120, 160), 20, np.uint8), Region(0, 0, 160, 120))
    unseen = result.mask._replace(region=Region(0, 0, 0, 0))  # by the network; the detector knows of it
    playback = make(None, tmp_path)
    playback.note(result._replace(mask=unseen if faces else faint))
    assert playback.faces == faces


def test_v_steps_through_all_views_and_back(tmp_path, result):
    player = make(FakeWindow("v" * len(VIEWS)), tmp_path)
    names = []
    for _ in VIEWS:
        player.play(result)
        names.append(player.player.view.name)
    assert sorted(names) == sorted(VIEWS) and names[-1] == "overlay"


def test_the_view_is_told_at_each_change(tmp_path, result):
    told = []
    playback = make(FakeWindow(".v.v"), tmp_path, view="mask")
    playback.player.on_view = lambda view: told.append(view.name)
    for _ in range(4):
        playback.play(result)
    assert told == ["overlay", "cutout"]


def test_status_tells_rate_latency_share_and_view(tmp_path, result):
    window = FakeWindow()
    player = make(window, tmp_path)
    for _ in range(3):
        player.play(result._replace(frame=result.frame._replace(time=time.perf_counter() - 0.05)))
    share = (result.mask.probability > 127).mean()
    status = player.status(result)
    assert f"{share:.1%} face" in status and "overlay" in status and "frames/s" in status
    assert 50 <= int(status.split(" ms")[0].split()[-1]) < 150
    assert " ms" not in make(window, tmp_path, stream=FILE).status(result)
    corner = window.shown[-1][:20, :60]
    assert (corner > 220).all(axis=2).any()  # white letters


def test_threshold_keys_stay_within_reason(tmp_path, result):
    player = make(FakeWindow("+" * 20), tmp_path)
    for _ in range(20):
        player.play(result)
    assert player.player.style.threshold == 0.95
    player = make(FakeWindow("-=_-"), tmp_path)
    for _ in range(4):
        player.play(result)
    assert player.player.style.threshold == 0.4


def test_help_is_shown_on_request(tmp_path, result):
    window = FakeWindow("h..h..")
    player = make(window, tmp_path)
    for _ in range(6):
        player.play(result)
    lettered = [np.count_nonzero((picture[30:] > 200).all(axis=2)) for picture in window.shown]
    assert lettered[2] > lettered[0] + 50 and lettered[5] == lettered[0]


@pytest.mark.parametrize(("view", "mode"), [("overlay", "RGB"), ("cutout", "RGBA"), ("mask", "L")])
def test_snapshot_is_the_view_without_letters(tmp_path, result, view, mode, capsys):
    player = make(FakeWindow("ss"), tmp_path / "new", view=view)
    wanted = player.player.draw(result)
    player.play(result)
    player.play(result)
    paths = sorted((tmp_path / "new").iterdir())
    assert len(paths) == 2 and f"wrote {paths[0].parent}" in capsys.readouterr().err
    picture = Image.open(paths[0])
    assert picture.mode == mode
    if mode == "RGB":
        wanted = wanted[..., ::-1]
    elif mode == "RGBA":
        wanted = wanted[..., [2, 1, 0, 3]]
    np.testing.assert_array_equal(np.array(picture), wanted)


def test_a_snapshot_that_cannot_be_written_does_not_end_it(tmp_path, result, capsys):
    (tmp_path / "file").write_text("in the way")
    player = make(FakeWindow("sr.r"), tmp_path / "file")
    assert all(player.play(result) for _ in range(4))
    player.close()
    assert capsys.readouterr().err.count("cannot write") >= 2


def test_r_records_until_r_or_the_end(tmp_path, result, capsys):
    stream = Source("clip.mp4", 25.0)
    stream.colors = Colors(9, 1, 9, 18)
    player = make(FakeWindow("r..r.r."), tmp_path, stream=stream)
    for _ in range(7):
        player.play(result)
    player.close()
    paths = sorted(tmp_path.iterdir())
    counts = []
    for path in paths:
        assert open_file(path).colors == stream.colors
        capture = cv2.VideoCapture(str(path))
        counts.append(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        picture = capture.read()[1]
        assert np.abs(picture[:20, :60].astype(int) - result.frame.image[:20, :60]).mean() < 12  # no letters
    assert sorted(counts) == [1, 3] and "recording to" in capsys.readouterr().err


def test_a_recording_has_the_quality_that_is_asked_for(tmp_path, result):
    options = Options(folder=tmp_path, crf=40, preset="fast")
    playback = Playback(Player(options, FakeWindow("r")), CAMERA)
    playback.play(result)
    encoder = playback.recording.encoder
    playback.close()
    assert (encoder.crf, encoder.preset) == (40, "fast")


def test_space_pauses_and_keys_work_meanwhile(tmp_path, result):
    window = FakeWindow(" .v+ ")
    player = make(window, tmp_path)
    assert player.play(result)
    assert len(window.shown) == 5 and player.count == 1
    assert player.player.view.name == "cutout" and player.player.style.threshold == 0.55
    assert not make(FakeWindow(" q"), tmp_path).play(result)


def test_pictures_are_held_until_a_key(tmp_path, result):
    for keys, ended in (("..v ", False), (".q", True)):
        player = make(FakeWindow(keys), tmp_path)
        player.hold(result, "next?")
        assert player.player.ended == ended


def test_a_held_picture_is_not_recorded(tmp_path, result, capsys):
    player = make(FakeWindow("rr "), tmp_path)
    player.hold(result, "question")
    player.close()
    assert capsys.readouterr().err == "" and not list(tmp_path.iterdir())


def test_a_large_picture_is_shown_small_and_written_large(tmp_path):
    frame = Frame(background(2400, 1800), 0, time.perf_counter(), 0.0, 1.0)
    large = Result(frame, Mask(np.zeros((2400, 1800), np.uint8), Region(0, 0, 0, 0)))
    window = FakeWindow("s ")
    make(window, tmp_path).hold(large, "question")
    assert window.shown[0].shape == (800, 600, 3)
    (snapshot,) = tmp_path.glob("snapshot-*")
    assert Image.open(snapshot).size == (1800, 2400)


def test_a_file_that_is_watched_plays_at_its_own_speed(tmp_path, result):
    window = FakeWindow()
    player = make(window, tmp_path, stream=FILE)
    start = time.perf_counter()
    for _ in range(4):
        player.play(result)
        time.sleep(window.waited[-1])
    assert time.perf_counter() - start >= 4 / 25
    for faster in (
        make(window, tmp_path, stream=CAMERA),
        make(window, tmp_path, [VideoWriter(tmp_path / "a.mp4", 25)], FILE),
        make(None, tmp_path, stream=FILE),
    ):
        assert faster.time_to_wait(result) == 0


def test_idle_looks_at_the_keys(tmp_path, result):
    window = FakeWindow()
    playback = make(window, tmp_path)
    assert playback.player.idle()
    playback.play(result)
    window.keys = ["x", "q"]
    assert playback.player.idle() and not playback.player.idle()
    assert make(None, tmp_path).player.idle()


def test_a_key_between_two_slow_results_is_not_lost(tmp_path, result):
    window = FakeWindow()
    player = make(window, tmp_path)
    player.play(result)
    window.keys = ["v", ".", "+", "h"]
    first = player.player.view
    assert all(player.player.idle() for _ in range(3))
    assert player.play(result)
    second = player.player.view
    assert second != first and player.player.help  # h came with the second result
    assert player.player.style.threshold == 0.55
    assert player.play(result)
    assert player.player.view == second  # once


def test_all_is_closed_even_if_one_thing_fails(tmp_path):
    closed = []

    class Sink(Writer):
        def __init__(self, name, fails):
            self.name, self.fails = name, fails

        def close(self, finished):
            closed.append(self.name)
            if self.fails:
                raise OSError("the disk is full")

    player = make(FakeWindow(), tmp_path, [Sink("a", False), Sink("b", True), Sink("c", False)])
    with pytest.raises(OSError, match="full"):
        player.close()
    assert sorted(closed) == ["a", "b", "c"]


def test_notices_go_away(tmp_path, result, monkeypatch, capsys):
    window = FakeWindow()
    player = make(window, tmp_path)
    for seconds in (100.0, 0.0):
        monkeypatch.setattr(player_module, "NOTICE_SECONDS", seconds)
        player.player.say("look here")
        player.play(result)
    assert capsys.readouterr().err.count("look here") == 2
    letters = [np.count_nonzero((picture[17:] > 200).all(axis=2)) for picture in window.shown]
    assert letters[0] > letters[1] + 50


def test_the_window_may_be_a_mirror_but_never_what_is_written(tmp_path, result):
    written = []

    class Sink(Writer):
        def write(self, picture, at, until):
            written.append(picture.copy())

    window = FakeWindow("m..")
    playback = make(window, tmp_path, [Sink()])
    for _ in range(3):
        playback.play(result)
    np.testing.assert_array_equal(window.shown[1][40:], window.shown[0][40:, ::-1])
    np.testing.assert_array_equal(written[1], written[0])
