"""infer.py with folders, tables, animations: python -m pytest tests/test_infer_files.py"""

from __future__ import annotations

import csv
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import frames_of, length_of, make_clip
from fakes import FakeWindow
from PIL import Image
from programs import ended
from scenes import RedDetector, background, clip, draw_face, iou, photo, red_runtime

import infer
from faces.segmenter import segment_picture
from files.pictures import read_image, write_image
from media import writers

pytestmark = pytest.mark.usefixtures("red_world")


def run(*args: str) -> int:
    return ended(infer.main, *args)


def test_a_folder_of_all_kinds_with_its_structure(capsys):
    photo("in/a.png")
    photo("in/more/b.jpg")
    clip("in/more/c.mkv", count=5)
    frames = [background(96, 128, seed)[..., ::-1] for seed in range(4)]
    write_image("in/d.gif", *frames, seconds=[0.1, 0.2, 0.3, 0.4])
    Path("in/notes.txt").write_text("no picture")
    Path("in/broken.mp4").write_bytes(b"no video" * 99)
    assert run("--source", "in", "--output", "out", "--recursive") == 1  # for the broken one
    err = capsys.readouterr().err
    assert "broken.mp4 cannot be opened" in err and "4 done, 1 failed, 1 left out (1 .txt)" in err
    found = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file())
    assert found == ["a.png", "d.gif", "more/b.jpg", "more/c.mkv"]
    with Image.open("out/d.gif") as picture:
        picture.seek(2)
        assert picture.n_frames == 4 and picture.info["duration"] == 300
    os.remove("in/broken.mp4")
    os.remove("out/a.png")
    before = Path("out/more/c.mkv").stat().st_mtime_ns
    assert run("--source", "in", "--output", "out", "--recursive", "--skip-existing") == 0
    assert "1 done, 0 failed, 3 there already" in capsys.readouterr().err
    assert Path("out/a.png").exists() and Path("out/more/c.mkv").stat().st_mtime_ns == before


def test_a_result_that_cannot_be_written_does_not_stop_the_others(capsys):
    for name in "abc":
        photo(f"in/{name}.png")
    Path("out/b.png").mkdir(parents=True)
    assert run("--source", "in", "--output", "out") == 1
    err = capsys.readouterr().err
    assert "cannot write out/b.png: it is a folder" in err and "2 done, 1 failed" in err
    assert Path("out/a.png").is_file() and Path("out/c.png").is_file()


def test_a_table_that_would_lack_faces_is_not_written(capsys):
    for name in "ab":
        photo(f"in/{name}.png")
    assert run("--source", "in", "--output", "out", "--table", "faces.csv") == 0
    before = Path("faces.csv").read_text()
    os.remove("out/a.png")
    again = ("--source", "in", "--output", "out", "--table", "faces.csv", "--skip-existing")
    assert run(*again) == 1
    assert "faces.csv would lack the faces of 1 results that are there already" in capsys.readouterr().err
    assert Path("faces.csv").read_text() == before and not Path("out/a.png").exists()


def test_two_programs_do_not_write_one_table(capsys):
    photo("in.png")
    with infer.FaceTable("faces.csv"):
        assert run("--source", "in.png", "--output", "out.png", "--table", "faces.csv") == 1
    assert (
        "cannot write faces.csv: another program is writing it: give each its own output"
        in capsys.readouterr().err
    )
    assert len(Path("faces.csv").read_text().splitlines()) == 1


def test_a_finished_table_stays_open_nowhere():
    before = len(os.listdir("/proc/self/fd"))
    with infer.FaceTable("faces.csv"):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_a_result_cannot_hold_is_said(capsys):
    hlg = {"x264-params": "transfer=arib-std-b67:colorprim=bt2020:colormatrix=bt2020nc"}
    make_clip("in.mp4", [background(96, 128)] * 5, **hlg)
    assert run("--source", "in.mp4", "--output", "out.mp4") == 0
    assert "in.mp4: HDR: written in 8 bits" in capsys.readouterr().err
    make_clip("in.mp4", [background(96, 128)] * 5)
    assert run("--source", "in.mp4", "--output", "out.mp4") == 0
    assert "HDR" not in capsys.readouterr().err


def test_a_folder_of_frames_is_no_finished_result(capsys):
    clip("in.mp4", count=3)
    Path("frames").mkdir()
    again = ("--source", "in.mp4", "--view", "cutout", "--output", "frames", "--skip-existing")
    assert run(*again) == 0 and len(os.listdir("frames")) == 3
    assert run("--source", "in.mp4", "--output", "out.mp4") == 0
    assert run("--source", "in.mp4", "--output", "out.mp4", "--skip-existing") == 0
    assert "0 done, 0 failed, 1 there already" in capsys.readouterr().err


def test_shards_take_every_file_once():
    for number in range(5):
        photo(f"in/{number}.png")
    for part in (1, 2):
        assert run("--source", "in", "--output", f"out{part}", "--shard", f"{part}/2") == 0
    assert sorted(os.listdir("out1")) == ["0.png", "2.png", "4.png"] and len(os.listdir("out2")) == 2
    assert run("--source", "in", "--output", "out", "--shard", "3/2") == 2
    assert run("--source", "in/0.png", "--output", "0.png", "--shard", "2/2") == 0  # nothing falls to it
    assert not Path("0.png").exists()


def test_q_ends_a_folder_of_videos(monkeypatch, capsys):
    for name in ("a", "b"):
        clip(f"in/{name}.mp4", count=5)
    monkeypatch.setattr(infer, "open_window", lambda title: FakeWindow(".q"))
    assert run("--source", "in") == 0
    assert "1 done, 0 failed" in capsys.readouterr().err


@pytest.mark.parametrize("keys, rows", [("q", 1), (" q", 2)])
def test_q_in_a_folder_of_pictures_leaves_the_table_unfinished_but_in_the_last(monkeypatch, keys, rows):
    for name in ("a", "b"):
        photo(f"in/{name}.png")
    monkeypatch.setattr(infer, "open_window", lambda title: FakeWindow(keys))
    assert run("--source", "in", "--table", "faces.csv") == 2 - rows
    name = "faces.unfinished.csv" if rows == 1 else "faces.csv"
    assert sorted(os.listdir()) == [name, "in"] and len(Path(name).read_text().splitlines()) == 1 + rows


@pytest.mark.parametrize("suffix", ["mp4", "webm"])  # before and after "unfinished" in the alphabet
def test_what_an_earlier_run_left_in_the_folder_is_a_video_too(suffix):
    for name, count in ((f"a.{suffix}", 5), (f"a.unfinished.{suffix}", 3)):
        clip(f"in/{name}", count)
    assert run("--source", "in", "--output", "out") == 0
    found = {name: len(frames_of(f"out/{name}")) for name in os.listdir("out")}
    assert found == {f"a.{suffix}": 5, f"a.unfinished.{suffix}.{suffix}": 3}


@pytest.mark.parametrize("view", ["blur-face", "mosaic-face", "fill-face:red"])
def test_under_a_view_that_hides_faces_what_is_left_out_or_faceless_is_said(view, capsys):
    photo("in/a.png")
    photo("in/empty.png", face=False)
    assert run("--source", "in", "--output", "out", "--view", view) == 0
    err = capsys.readouterr().err
    assert "no face was found in in/empty.png" in err and "a.png" not in err.split("found in")[1]
    Path("in/notes.txt").write_text("perhaps a picture")
    assert run("--source", "in", "--output", "out", "--view", view) == 1
    assert "1 left out (1 .txt)" in capsys.readouterr().err
    assert run("--source", "in", "--output", "out") == 0
    make_clip("faceless.mp4", [background(96, 128)] * 5)
    assert run("--source", "faceless.mp4", "--output", "o.mp4", "--view", view) == 0
    assert "no face was found in faceless.mp4" in capsys.readouterr().err


def test_an_animation_becomes_a_video_with_its_timing():
    frames = [background(96, 128, seed)[..., ::-1] for seed in range(4)]
    write_image("in.gif", *frames, seconds=[0.1, 0.2, 0.3, 0.4])
    assert run("--source", "in.gif", "--output", "out.mp4") == 0
    assert len(frames_of("out.mp4")) == 4 and length_of("out.mp4") == pytest.approx(1.0, abs=0.01)
    write_image("pages.tif", *frames)
    assert run("--source", "pages.tif", "--output", "out.tif", "--view", "mask") == 0
    assert Image.open("out.tif").n_frames == 4


def test_of_an_animation_that_is_too_large_a_part_can_be_taken(monkeypatch):
    monkeypatch.setattr(writers, "MOST_PIXELS", 2 * 96 * 128)
    write_image("in.gif", *[background(96, 128, seed) for seed in range(4)])
    assert run("--source", "in.gif", "--output", "out.gif") == 1 and not Path("out.gif").exists()
    assert run("--source", "in.gif", "--output", "out.gif", "--max-frames", "2") == 0
    with Image.open("out.gif") as picture:
        assert picture.n_frames == 2


def test_a_cut_out_video_keeps_its_transparency(capsys):
    truths = clip("in.mp4", count=4)
    assert run("--source", "in.mp4", "--output", "frames", "--view", "cutout") == 0
    assert sorted(os.listdir("frames")) == [f"00000{number}.png" for number in (1, 2, 3, 4)]
    for number, truth in enumerate(truths, start=1):
        alpha = np.array(Image.open(f"frames/00000{number}.png"))[..., 3]
        assert iou(alpha > 127, truth) > 0.85
    assert run("--source", "in.mp4", "--output", "out.webm", "--view", "cutout") == 0
    for name in ("out.mp4", "out.mkv"):
        assert run("--source", "in.mp4", "--output", name, "--view", "cutout") == 1
        assert "use .webm, .mov, or a folder" in capsys.readouterr().err and not Path(name).exists()


def test_a_cut_out_photo_is_as_transparent_as_it_was():
    truth = photo("in.png")
    pixels = np.dstack([read_image("in.png"), np.full((240, 320), 255, np.uint8)])
    pixels[:, :150, 3] = 200
    write_image("in.png", pixels)
    assert run("--source", "in.png", "--output", "out.png", "--view", "cutout") == 0
    found = np.array(Image.open("out.png"))
    assert abs(int(found[120, 140, 3]) - 200) <= 1 and found[120, 160, 3] == 255 and found[5, 5].max() == 0
    assert truth[120, 140] and np.abs(found[120, 140, :3].astype(int) - pixels[120, 140, :3]).max() <= 2


@pytest.mark.parametrize("view", ["overlay", "fill-face"])
def test_the_table_of_faces_has_the_colours_of_the_source(view):
    colors = [(10, 20, 200), (20, 10, 230), (5, 15, 210)]  # BGR, of a face in three frames
    frames = []
    for color in colors:
        frame = np.full((240, 320, 3), 90, np.uint8)
        cv2.circle(frame, (150, 120), 60, color, -1)
        frames.append(frame)
    make_clip("in.mkv", frames, 10, codec="ffv1", pix_fmt="bgr0")
    assert run("--source", "in.mkv", "--output", "o.mp4", "--table", "t/faces.csv", "--view", view) == 0
    with open("t/faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["frame"], float(row["time"])) for row in rows] == [
        ("in.mkv", "0", 0.0),
        ("in.mkv", "1", 0.1),
        ("in.mkv", "2", 0.2),
    ]
    assert {row["track"] for row in rows} == {"1"}
    for row, (blue, green, red) in zip(rows, colors):
        found = [float(row[name]) for name in ("blue", "green", "red")]
        assert np.abs(np.array(found) - (blue, green, red)).max() < 6
        assert 0.9 < int(row["area"]) / (np.pi * 60**2) < 1.1
        assert abs(int(row["left"]) - 90) < 12 and abs(int(row["bottom"]) - 180) < 12
    assert os.listdir("t") == ["faces.csv"]


def test_an_earlier_table_stays_where_the_source_cannot_be_read(capsys):
    Path("broken.mp4").write_bytes(b"no video" * 99)
    Path("faces.csv").write_text("earlier")
    assert run("--source", "broken.mp4", "--table", "faces.csv", "--no-window") == 1
    assert "broken.mp4 cannot be opened" in capsys.readouterr().err
    assert Path("faces.csv").read_text() == "earlier"
    os.remove("faces.csv")
    assert run("--source", "broken.mp4", "--table", "faces.csv", "--no-window") == 1
    assert not Path("faces.csv").exists()


def test_an_earlier_table_stays_where_a_source_ends_early(capsys):
    clip("whole.mkv", count=30)
    data = Path("whole.mkv").read_bytes()
    Path("cut.mkv").write_bytes(data[: len(data) // 2])
    Path("faces.csv").write_text("earlier")
    assert run("--source", "cut.mkv", "--table", "faces.csv", "--no-window") == 1
    assert "faces.csv is not finished" in capsys.readouterr().err
    assert Path("faces.csv").read_text() == "earlier"
    assert 5 < len(Path("faces.unfinished.csv").read_text().splitlines()) < 30


def test_metadata_is_kept_on_request_alone():
    exif = Image.Exif()
    exif[0x0110], exif[0x0112] = "A camera", 3
    Image.fromarray(background(96, 128)).save("in.jpg", exif=exif)
    for options, kept in (((), None), (("--keep-metadata",), "A camera")):
        assert run("--source", "in.jpg", "--output", "out.jpg", *options) == 0
        found = Image.open("out.jpg").getexif()
        assert found.get(0x0110) == kept and 0x0112 not in found


def test_metadata_that_cannot_be_kept_is_said(capsys):
    exif = Image.Exif()
    exif[0x0110] = "A camera"
    Image.fromarray(background(96, 128)).save("in.jpg", exif=exif)
    stills = [Image.fromarray(background(96, 128, seed)) for seed in range(3)]
    stills[0].save("in.webp", save_all=True, append_images=stills[1:], exif=exif)
    clip("in.mp4", count=3)
    kept = [("in.jpg", "o.png"), ("in.webp", "o.webp"), ("in.webp", "p.png"), ("in.webp", "p.tif")]
    lost = [("in.jpg", "o.bmp"), ("in.jpg", "o.jp2"), ("in.webp", "o.gif"), ("in.webp", "o.mp4")]
    for source, output in [*kept, *lost, ("in.mp4", "frames")]:
        view = "cutout" if output == "frames" else "overlay"
        assert run("--source", source, "--output", output, "--view", view, "--keep-metadata") == 0
        is_kept = (source, output) in kept
        assert ("date, place and camera are left out" in capsys.readouterr().err) != is_kept
        if is_kept:
            assert Image.open(output).getexif().get(0x0110) == "A camera"


def test_a_pictures_address_is_a_picture(server, capsys):
    photo("in.png")
    server.RequestHandlerClass.files["/f.png?size=1"] = Path("in.png").read_bytes()
    assert run("--source", f"{server.url}/f.png?size=1", "--output", "out.png") == 0
    assert read_image("out.png").shape == (240, 320, 3)
    assert run("--source", f"{server.url}/none.jpg", "--output", "out.jpg") == 1
    assert "none.jpg cannot be fetched" in capsys.readouterr().err


def test_what_comes_from_an_address_is_named_by_it_without_its_password(server, capsys):
    photo("face.png")
    Image.fromarray(np.linspace(0, 9, 96 * 128, dtype=np.float32).reshape(96, 128)).save("grey.tif")
    make_clip("grey.mp4", [background(96, 128)] * 5, movflags="faststart")
    for name in ("face.png", "grey.tif", "grey.mp4"):
        server.RequestHandlerClass.files[f"/{name}"] = Path(name).read_bytes()
    how = ("--no-window", "--view", "blur-face", "--max-frames", "5", "--table", "faces.csv")
    for name in ("face.png", "grey.tif", "grey.mp4", "stream"):
        address = f"{server.url}/{name}"
        source = address.replace("://", "://me:secret@")
        assert run("--source", source, "--output", f"o{Path(name).suffix or '.mp4'}", *how) == 0
        said = capsys.readouterr().err
        assert "secret" not in said and "/tmp" not in said
        assert (f"no face was found in {address}\n" in said) == name.startswith("grey")
        assert (f"{address}: its greys from 0 to 9" in said) == (name == "grey.tif")
        if name == "face.png":
            assert Path("faces.csv").read_text().splitlines()[1].startswith(f"{address},0,")


@pytest.mark.parametrize(
    "args",
    [
        ("--source", "a.unfinished.mp4", "--output", "o.mp4", "--table", "a.mp4"),
        ("--source", "a.unfinished.mp4", "--output", "a.mp4"),
        ("--source", "in.mp4", "--output", "o.mp4", "--table", "w.csv", "--weights", "w.unfinished.csv"),
        ("--source", "in.mp4", "--output", "w.csv", "--weights", "w.unfinished.csv"),
        ("--source", "in.mp4", "--output", "b.mp4", "--view", "background:b.unfinished.mp4"),
        ("--source", "p.unfinished.png", "--output", "o.png", "--table", "p.png"),
        ("--source", "in.mp4", "--output", "o.unfinished.mp4", "--table", "o.mp4"),
        ("--source", "in.mp4", "--output", "link.mp4"),
        ("--source", "in.mp4", "--output", "pipe.mp4"),
        ("--source", "in.mp4", "--output", "o.mp4", "--table", "link.mp4"),
        ("--source", "in.mp4", "--output", "o.mp4", "--table", "pipe.mp4"),
        ("--source", "in.mp4", "--output", "frames", "--view", "cutout"),
        ("--source", "in.mp4", "--output", "o.mp4", "--table", "hard.mp4"),
        ("--source", "sample", "--output", "o.mp4", "--table", "link.mp4", "--max-frames", "2"),
    ],
)
def test_names_that_are_made_up_are_nobodys(args, capsys):
    clip("in.mp4", count=3)
    for copy in ("a.unfinished.mp4", "w.unfinished.csv", "b.unfinished.mp4", "frames/000001.png"):
        Path(copy).parent.mkdir(exist_ok=True)
        Path(copy).write_bytes(Path("in.mp4").read_bytes())
    photo("p.unfinished.png")
    photo("b.unfinished.mp4.png")
    os.rename("b.unfinished.mp4.png", "b.unfinished.mp4")
    Path("mine.txt").write_text("mine")
    os.symlink("mine.txt", "link.unfinished.mp4")
    os.link("in.mp4", "hard.unfinished.mp4")
    os.mkfifo("pipe.unfinished.mp4")
    before = {path: path.read_bytes() for path in Path(".").rglob("*") if path.is_file()}
    assert run(*args, "--no-window") == 1
    assert {path: path.read_bytes() for path in Path(".").rglob("*") if path.is_file()} == before
    assert "infer.py: " in capsys.readouterr().err


def test_a_write_protected_table_is_kept(monkeypatch, capsys):
    photo("in.png")
    Path("faces.csv").write_text("earlier")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, how: how != os.W_OK and access(path, how))
    assert run("--source", "in.png", "--table", "faces.csv", "--no-window") == 1
    assert "cannot write faces.csv: it is write-protected" in capsys.readouterr().err
    assert Path("faces.csv").read_text() == "earlier" and sorted(os.listdir()) == ["faces.csv", "in.png"]


def test_a_made_up_name_that_is_write_protected_is_told_before_anything_is_written(monkeypatch, capsys):
    clip("in/a.mp4", count=3)
    photo("in/b.png")
    os.mkdir("out")
    Path("out/a.unfinished.mp4").write_text("kept")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, how: how != os.W_OK and access(path, how))
    assert run("--source", "in", "--output", "out") == 1
    assert "a.unfinished.mp4 is in the way, and write-protected: rename it" in capsys.readouterr().err
    assert os.listdir("out") == ["a.unfinished.mp4"] and Path("out/a.unfinished.mp4").read_text() == "kept"


def test_a_folder_that_cannot_be_read_is_no_success(monkeypatch, capsys):
    photo("in/a.png")
    photo("in/more/b.png")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, how: Path(path).name != "more" and access(path, how))
    assert run("--source", "in", "--output", "out", "--recursive") == 1
    assert "1 left out (1 folder that you may not read)" in capsys.readouterr().err


def test_an_empty_file_is_no_result(capsys):
    photo("in/a.png")
    os.mkdir("out")
    Path("out/a.png").touch()
    again = ("--source", "in", "--output", "out", "--skip-existing")
    assert run(*again) == 0 and "1 done" in capsys.readouterr().err
    assert run(*again) == 0 and "1 there already" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["in", "in/**/*.png"])
def test_a_very_deep_folder(folder, capsys):
    """Deeper than Python's functions may call themselves."""
    here = os.getcwd()
    Path("in").mkdir()
    os.chdir("in")
    for _ in range(1600):
        os.mkdir("d")
        os.chdir("d")
    os.link(__file__, "x.txt")
    photo("a.png")
    os.chdir(here)
    status = run("--source", folder, "--output", "o", "--recursive")
    said = capsys.readouterr().err
    assert "should not have happened" not in said and "Traceback" not in said
    if folder == "in":
        assert status == 0 and "1 done" in said
        assert read_image(Path("o", *["d"] * 1600, "a.png")).shape == (240, 320, 3)
    else:
        assert status == 1 and "nested too deep" in said
    subprocess.run(["rm", "-r", "in", *(["o"] if folder == "in" else [])], check=True)  # pytest cannot


@pytest.fixture
def two_faces() -> tuple[np.ndarray, list]:
    """two.png with a large face on the left and a small one on the right; also their true masks."""
    frame = background(240, 320)
    truths = [draw_face(frame, (90, 120), 60), draw_face(frame, (250, 120), 30)]
    write_image("two.png", frame[..., ::-1])
    return frame, truths


@pytest.mark.parametrize(
    "options, hidden",
    [
        ((), [True, True]),
        (("--except-track", "1"), [False, True]),
        (("--except-track", "2,7"), [True, False]),
        (("--except-track", "1,2"), [False, False]),
        (("--only-in", "0,0,160,240"), [True, False]),
        (("--not-in", "0,0,160,240"), [False, True]),
    ],
)
def test_one_person_may_stay_visible(options, hidden, two_faces):
    frame, truths = two_faces
    assert [face.track for face in segmented(frame)] == [1, 2]
    assert run("--source", "two.png", "--output", "o.png", "--view", "fill-face:white", *options) == 0
    white = (read_image("o.png") == 255).all(axis=2)
    assert [white[truth].mean() > 0.9 for truth in truths] == hidden
    assert [white[truth].mean() < 0.01 for truth in truths] == [not one for one in hidden]


def segmented(frame: np.ndarray) -> tuple:
    return segment_picture(red_runtime, RedDetector(), frame).faces


def test_in_a_video_the_numbers_of_the_table_stay_the_same():
    frames = []
    for step in range(30):
        frames.append(background(240, 320))
        draw_face(frames[-1], (90 + step, 120), 40)
        if step > 6:
            draw_face(frames[-1], (270 - step, 60), 25)
    make_clip("in.mp4", frames, crf="4")
    common = ("--source", "in.mp4", "--no-window")
    assert run(*common, "--table", "faces.csv", "--view", "numbers", "--output", "n.mp4") == 0
    with open("faces.csv", newline="") as file:
        late = {row["track"] for row in csv.DictReader(file) if float(row["area"]) < 2500}
    assert late == {"2"}
    assert run(*common, "--output", "o.mp4", "--view", "fill-face:white", "--except-track", "2") == 0
    last = frames_of("o.mp4")[-1].min(axis=2)
    assert last[120, 119] > 230 and last[60, 241] < 60


def test_a_soft_mask_has_16_bits_where_the_file_has(two_faces):
    _, (large, small) = two_faces
    assert run("--source", "two.png", "--output", "o.png", "--view", "mask-soft", "--feather", "10") == 0
    with Image.open("o.png") as picture:
        levels = np.array(picture)
        assert picture.mode == "I;16" and levels.max() > 65000 and iou(levels > 32767, large | small) > 0.93
        assert len(np.unique(levels)) > 50
    assert run("--source", "two.png", "--output", "o.webp", "--view", "mask-soft") == 0
    assert run("--source", "two.png", "--output", "o.jpg", "--view", "mask-soft") == 1
    clip("in.mp4", count=3)
    assert run("--source", "in.mp4", "--output", "o.mp4", "--view", "mask-soft") == 0
    assert frames_of("o.mp4")[0].max() > 240


def test_faces_grow_and_shrink_on_request(two_faces):
    areas = []
    for options in (("--grow", "-5"), (), ("--grow", "10%"), ("--grow", "20")):
        assert run("--source", "two.png", "--output", "o.png", "--view", "mask", *options) == 0
        areas.append(np.count_nonzero(read_image("o.png")[..., 0]))
    assert areas == sorted(areas) and areas[0] < 0.85 * areas[1] and areas[3] > 1.5 * areas[1]


def test_a_face_without_a_pixel_has_no_colour(monkeypatch):
    monkeypatch.setattr(infer, "open_network", lambda options: blind)
    photo("in.png")
    assert run("--source", "in.png", "--table", "faces.csv", "--no-window") == 0
    with open("faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [[row[name] for name in ("area", "red", "green", "blue")] for row in rows] == [["0", "", "", ""]]


def blind(batch: np.ndarray) -> np.ndarray:
    return np.full((len(batch), 1, *batch.shape[2:]), -9, np.float32)


blind.name = "blind on CPU"
