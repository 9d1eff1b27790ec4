"""Pictures as a source and the names of what is written for them: python -m pytest tests/media"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from clips import make_clip
from scenes import background

from files.pictures import EXACT_SUFFIXES, write_image
from media.jobs import find_jobs, is_files, list_counts
from media.options import Options
from media.plan import make_plan
from media.sample import PORTRAIT
from media.views import find_view
from utils import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """photos/ with b.jpg, a.PNG, a.jpg, notes.txt and more/c.png; it is the current folder's."""
    for name in ("b.jpg", "a.PNG", "a.jpg", "more/c.png"):
        write_image(tmp_path / "photos" / name, np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    (tmp_path / "clip.mp4").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def names(paths: list[Path]) -> list[str]:
    return [path.as_posix() for path in paths]


def test_what_is_meant_as_files(folder):
    assert all(map(is_files, ("photos", "photos/a.jpg", "photos/*", "missing.png", "clip.mp4", "a:b.mp4")))
    assert not any(map(is_files, (None, "0", "/dev/video1", "rtsp://host/a.jpg", "http://host/?a", "sample")))


def sources(spec: str, **how) -> list[str]:
    return names([job.source for job in find_jobs(spec, **how)[0]])


def test_finding(folder):
    jobs, left_out = find_jobs("photos")
    assert names([job.source for job in jobs]) == ["photos/a.PNG", "photos/a.jpg", "photos/b.jpg"]
    assert list_counts(left_out) == "1 .txt, 1 folder"
    assert sources("photos", recursive=True) == [*names([job.source for job in jobs]), "photos/more/c.png"]
    assert sources("photos/*.jpg") == ["photos/a.jpg", "photos/b.jpg"]
    assert sources("photos/**/*.[pP]*") == ["photos/a.PNG", "photos/more/c.png"]
    assert sources("photos/b.jpg") == ["photos/b.jpg"]


def test_the_results_are_no_sources_however_they_are_spelled(folder):
    (folder / "link").symlink_to(folder / "more")
    everything = sources("photos", recursive=True)
    write_image("photos/out/deep/a.jpg", np.zeros((8, 8, 3), np.uint8))
    for leave in ("photos/out", folder / "out", "photos/more/../out"):
        assert sources("photos", recursive=True, leave=Path(leave)) == everything
    assert sources("photos/**/*.jpg", leave=Path("photos/out")) == ["photos/a.jpg", "photos/b.jpg"]
    assert sources("photos/*.jpg", leave=Path(".")) == ["photos/a.jpg", "photos/b.jpg"]  # around the sources


def test_links_that_go_round_are_not_followed(folder):
    (folder / "more" / "up").symlink_to(folder)
    (folder / "more" / "self").symlink_to(".")
    assert len(sources("photos", recursive=True)) == 4


def test_a_folder_that_may_not_be_read_stops_nothing(folder, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, how: Path(path).name != "more" and access(path, how))
    jobs, left_out = find_jobs("photos", recursive=True)
    assert len(jobs) == 3 and list_counts(left_out) == "1 .txt, 1 folder that you may not read"


def test_a_folder_that_may_not_be_entered_is_counted_for_patterns_and_links_too(folder, monkeypatch):
    access, is_dir = os.access, Path.is_dir
    monkeypatch.setattr(os, "access", lambda path, how: Path(path).name != "more" and access(path, how))
    for spec in ("photos/**/*.jpg", "photos/*", "photos/**"):
        _, left_out = find_jobs(spec)
        assert left_out["folder that you may not read"] == (spec != "photos/*")  # which does not lead there
    with pytest.raises(UserError, match=r"in it \(1 folder that you may not read\)"):
        find_jobs("photos/*/*.jpg")
    (folder / "link.jpg").symlink_to("more/c.png")

    def refused(path: Path) -> bool:
        if path.name == "link.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refused)
    jobs, left_out = find_jobs("photos")
    assert len(jobs) == 3 and list_counts(left_out) == "1 .txt, 1 folder, 1 folder that you may not read"


@pytest.mark.parametrize("spec", ["photos/**", "photos/**/**", "photos/**/*"])
def test_what_a_pattern_matches_twice_is_done_once(folder, spec):
    assert sources(spec, recursive=True) == sources("photos", recursive=True)
    assert len(outputs(spec, "out")) == 4


def test_kinds_are_told_by_what_is_in_a_file(folder):
    make_clip("photos/c.mp4", [background(48, 64)] * 3)
    os.rename("photos/c.mp4", "photos/clip")
    os.rename("photos/a.jpg", "photos/a.dat")
    write_image("photos/moving.gif", *[np.full((8, 8, 3), 99 * n, np.uint8) for n in range(3)])
    Path("photos/broken.jpg").write_bytes(b"nothing")
    Path("photos/._b.jpg").write_bytes(b"what macOS notes")
    os.mkfifo("photos/pipe.jpg")
    jobs, left_out = find_jobs("photos")
    kinds = {job.source.name: job.kind for job in jobs}
    assert kinds == {
        "a.PNG": "picture",
        "a.dat": "picture",
        "b.jpg": "picture",
        "broken.jpg": "picture",
        "clip": "video",
        "moving.gif": "animation",
    }
    assert list_counts(left_out) == "1 .jpg, 1 .txt, 1 folder"


def test_the_results_are_no_sources(folder):
    found = sources("photos", recursive=True, leave=Path("photos/more"))
    assert found == ["photos/a.PNG", "photos/a.jpg", "photos/b.jpg"]


@pytest.mark.parametrize("spec", ["missing.png", "empty", "photos/*.bmp"])
def test_nothing_found_is_told(folder, spec):
    Path("empty").mkdir()
    with pytest.raises(UserError, match=r"no picture|no such file"):
        find_jobs(spec)


def outputs(spec: str, output: str, view: str = "overlay") -> list[str]:
    plan = make_plan(Options(source=spec, output=output, view=view))
    return names([job.output for job in plan.jobs])


def test_a_name_with_brackets_is_a_file_if_there_is_one(folder):
    os.rename("photos/a.jpg", "photos/a[1].jpg")
    assert sources("photos/a[1].jpg") == ["photos/a[1].jpg"]
    assert outputs("photos/a[1].jpg", "out.png") == ["out.png"]


@pytest.mark.parametrize("output", ["rtsp://host/x", "udp://127.0.0.1:9", "-", "pipe:1"])
@pytest.mark.parametrize("view", ["overlay", "cutout"])
def test_an_address_is_no_file_name(folder, output, view):
    Path("a.mts").write_bytes(b"x")
    for source in ("a.mts", "0", "rtsp://host/y", "-"):
        plan = make_plan(Options(source=source, output=output, view=view))
        assert [job.output for job in plan.jobs] == [output] and not plan.jobs[0].is_numbered(find_view(view))
    for source in ("photos", "photos/a.jpg"):
        with pytest.raises(UserError, match="takes one video"):
            make_plan(Options(source=source, output=output))
    assert os.listdir(".") and not Path("rtsp:").exists()


def test_names_of_outputs(folder):
    assert outputs("photos", "out") == ["out/a.PNG", "out/a.jpg", "out/b.jpg"]
    assert outputs("photos/**/*.png", "out") == ["out/more/c.png"]
    assert outputs("photos/b.jpg", "out/new.webp") == ["out/new.webp"]
    assert outputs("photos/b.jpg", "out") == ["out/b.jpg"]
    assert outputs("photos/b.jpg", "photos/more") == ["photos/more/b.jpg"]
    assert outputs("photos/b*.jpg", "out") == ["out/b.jpg"]


def test_another_suffix_never_makes_two_outputs_one(folder):
    assert outputs("photos", "out", "mask") == ["out/a.PNG", "out/a.jpg.png", "out/b.png"]
    assert outputs("photos/b.jpg", "cut.png", "cutout") == ["cut.png"]
    write_image(folder / "a.jpg.png", np.zeros((8, 8, 3), np.uint8))
    assert len(set(outputs("photos", "out", "mask"))) == 4


@pytest.mark.parametrize(
    "first, added, to_do",
    [
        ("a.jpg", "a.png", ["a.jpg", "a.png"]),  # out/a.png is of a.jpg
        ("a.png", "a.jpg", ["a.jpg", "a.png"]),  # as far as the names tell
        ("a.jpg.png", "a.jpg a.png", ["a.jpg", "a.jpg.png", "a.png"]),
        ("a.jpg", "b.png", ["b.png"]),
        ("a.jpg", "a.b.png", ["a.b.png"]),
    ],
)
def test_a_result_that_may_be_anothers_is_made_again(tmp_path, monkeypatch, first, added, to_do):
    monkeypatch.chdir(tmp_path)
    picture, options = np.zeros((8, 8, 3), np.uint8), {"source": "in", "output": "out", "view": "mask"}
    for name in first.split():
        write_image(Path("in", name), picture)
    for job in make_plan(Options(**options)).jobs:
        write_image(job.output, picture)
    for name in added.split():
        write_image(Path("in", name), picture)
    for part in ((1, 1), (1, 2), (2, 2)):
        plan = make_plan(Options(**options, skip_existing=True, shard=part))
        assert [job.source.name for job in plan.jobs] == [
            name for name in to_do if part[1] == 1 or sorted(os.listdir("in")).index(name) % 2 == part[0] - 1
        ]


def test_a_result_of_a_picture_that_is_gone_is_not_taken_for_anothers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"source": "in", "output": "out", "view": "mask"}
    for name in ("a.jpg", "a.png"):
        write_image(Path("in", name), np.zeros((8, 8, 3), np.uint8))
    for job in make_plan(Options(**options)).jobs:
        write_image(job.output, np.zeros((8, 8), np.uint8))
    os.remove("in/a.png")
    assert [job.output for job in make_plan(Options(**options, skip_existing=True)).jobs] == [
        Path("out/a.png")
    ]


def test_a_part_of_a_mixed_folder_has_all_its_pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "d.jpg", "f.jpg"):
        write_image(Path("in", name), np.zeros((8, 8, 3), np.uint8))
    Path("in/a.mp4").write_bytes(b"x")
    plan = make_plan(Options(source="in", output="out", max_frames=1, shard=(2, 2)))
    assert [job.source.name for job in plan.jobs] == ["b.jpg", "f.jpg"]


def test_inputs_are_never_overwritten(folder):
    for spec, output in (
        ("photos", "photos"),
        ("photos/b.jpg", "photos/b.jpg"),
        ("photos/b.jpg", "photos/../photos"),
    ):
        with pytest.raises(UserError, match="one of the inputs"):
            outputs(spec, output)
    os.symlink("photos", "link")
    os.link("photos/b.jpg", "hard.jpg")
    for spec, output in (("photos", "link"), ("photos/b.jpg", "hard.jpg")):
        with pytest.raises(UserError, match="one of the inputs"):
            outputs(spec, output)


@pytest.mark.parametrize("more", [{"output": "photos/a.PNG"}, {"table": "photos/a.PNG"}, {"table": PORTRAIT}])
def test_neither_a_background_nor_the_sample_is_overwritten(folder, more):
    with pytest.raises(UserError, match="one of the inputs"):
        make_plan(Options(source="photos/b.jpg", view="background:photos/a.PNG", **more))


def test_nothing_beside_the_pictures_is_overwritten_unless_named(folder):
    write_image(folder / "b.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UserError, match=r"b.png is there already, beside the source"):
        outputs("photos/b.jpg", "photos", "mask")
    assert outputs("photos/b.jpg", "photos/b.png", "mask") == ["photos/b.png"]
    assert outputs("photos/b.jpg", "out", "mask") == ["out/b.png"]


def test_a_folder_for_cutouts_is_not_that_of_an_animated_png(folder):
    still = [np.full((8, 8, 3), shade, np.uint8) for shade in (0, 9)]
    write_image(folder / "000001.png", *still, seconds=[0.1, 0.1])
    with pytest.raises(UserError, match="is there already"):
        outputs("photos/000001.png", "photos", "cutout")
    assert outputs("photos/000001.png", "out", "cutout") == ["out"]


def test_outputs_that_cannot_be(folder):
    with pytest.raises(UserError, match="output is a folder"):
        outputs("photos", "clip.mp4")
    with pytest.raises(UserError, match="cannot hold a picture"):
        outputs("photos/b.jpg", "out.mp4")
    with pytest.raises(UserError, match=r"cannot hold a picture in this view: use \.png"):
        outputs("photos/b.jpg", "out.jpg", "mask")
    with pytest.raises(UserError, match="cannot hold a picture in this view"):
        outputs("photos/b.jpg", "out.avif", "mask")
    for suffix in EXACT_SUFFIXES:
        assert outputs("photos/b.jpg", f"out{suffix}", "mask") == [f"out{suffix}"]


def test_videos_and_animations_keep_their_kind(folder):
    Path("photos/a.mts").write_bytes(b"x")
    Path("photos/b.webm").write_bytes(b"x")
    write_image("photos/m.gif", *[np.full((8, 8, 3), 99 * n, np.uint8) for n in range(3)])
    assert outputs("photos", "out")[-3:] == ["out/b.jpg", "out/b.webm", "out/m.gif"]
    assert "out/a.mp4" in outputs("photos", "out")
    assert {"out/a.webm", "out/b.webm", "out/m.gif"} <= set(outputs("photos", "out", "cutout"))
    assert outputs("photos/b.webm", "frames", "cutout") == ["frames"]
    assert outputs("photos/b.webm", "new.mp4") == ["new.mp4"]
