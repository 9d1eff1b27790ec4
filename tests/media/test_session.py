"""What a visitor of the page does, beside what infer.py makes of the same files."""

from __future__ import annotations

import csv
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from programs import ended
from scenes import background, clip, draw_face, photo, red_runtime

import infer
from files.pictures import read_pixels, write_image
from media import session as module
from media.options import Options
from media.session import Session, one_at_a_time
from media.videos import open_file

OPTIONS = Options(window=False, color=(0, 0, 255), alpha=1.0)
BLUE = np.array([255, 0, 0])


@pytest.fixture
def session(red_world, tmp_path: Path) -> Session:
    return Session(tmp_path, one_at_a_time(red_runtime))


def frames(path: Path) -> np.ndarray:
    return np.array([frame.image for frame in iter(open_file(path).read, None)])


def rows_of(table: Path) -> list[list[str]]:
    return list(csv.reader(table.read_text().splitlines()))


def upload(name: str) -> Path:
    """Return where a file of that name is, in a folder of its own, as gradio has it."""
    folder = Path(f"upload-{name}").absolute()
    folder.mkdir()
    return folder / name


def test_files_become_what_infer_makes_of_them(session: Session, capsys):
    picture, video, wrong = map(upload, ("photo.png", "clip.mp4", "wrong.txt"))
    photo(picture)
    clip(video, 10)
    wrong.write_text("no picture")
    done = session.do_files([wrong, picture, video], OPTIONS)
    capsys.readouterr()
    more = ["--no-window", "--color", "0,0,255", "--alpha", "1", "--table"]
    for path in (picture, video):
        output = ["--output", f"expected/{path.name}"]
        assert ended(infer.main, "--source", path, *output, *more, f"{path.name}.csv") == 0
    assert ended(infer.main, "--source", wrong, "--output", "x.png") == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert done.messages == [message.removeprefix("infer.py: ").replace(str(wrong), "wrong.txt")]

    assert [path.name for path in done.results] == ["photo.png", "clip.mp4"]
    assert np.array_equal(read_pixels(done.results[0]), read_pixels(Path("expected/photo.png")))
    assert np.array_equal(frames(done.results[1]), frames(Path("expected/clip.mp4")))
    tables = [rows_of(Path(f"{path.name}.csv")) for path in (picture, video)]
    expected = [[Path(row[0]).name, *row[1:]] for table in tables for row in table[1:]]
    assert done.rows == expected and len(expected) == 11
    assert rows_of(done.table) == [tables[0][0], *expected]


def test_files_of_one_name_and_a_cutout_video(session: Session):
    first, second = Path("a/photo.png"), Path("b/photo.png")
    for path, face in ((first, True), (second, False)):
        path.parent.mkdir()
        photo(path, face)
    done = session.do_files([first, second], OPTIONS)
    assert [(read_pixels(path) == [0, 0, 255]).all(axis=2).any() for path in done.results] == [True, False]
    assert done.messages == ["no face was found in photo.png"]
    clip("clip.avi.mp4", 3)
    (video,) = session.do_files([Path("clip.avi.mp4")], Options(window=False, view="cutout")).results
    assert video.suffix == ".webm" and len(frames(video)) == 3
    clip("telephone.mov", 3)
    (video,) = session.do_files([Path("telephone.mov")], Options(window=False, view="cutout")).results
    assert video.suffix == ".webm" and len(frames(video)) == 3
    clip("telephone.mp4", 4)
    both = [Path("telephone.mov"), Path("telephone.mp4")]
    done = session.do_files(both, Options(window=False, view="cutout"))
    assert {path.suffix for path in done.results} == {".webm"}
    assert [len(frames(path)) for path in done.results] == [3, 4]
    write_image("moving.gif", *[background(96, 128, seed) for seed in range(3)])
    (moving,) = session.do_files([Path("moving.gif")], Options(window=False, view="cutout")).results
    assert read_pixels(moving).shape == (96, 128, 4)


def test_a_video_that_is_cut_off_gets_a_message(session: Session):
    clip("whole.mkv", 60)
    data = Path("whole.mkv").read_bytes()
    Path("cut.mkv").write_bytes(data[: len(data) // 2])
    done = session.do_files([Path("cut.mkv")], OPTIONS)
    assert done.messages == ["cut.mkv cannot be read to its end"] and not done.results


def blue(picture: np.ndarray) -> float:
    return (picture == BLUE).all(axis=2).mean()


def shown(session: Session, face: bool, options: Options = OPTIONS) -> np.ndarray:
    """Return what a camera's still picture becomes once the detector has seen it."""
    image = background(240, 320)
    if face:
        draw_face(image, (150, 120), 60)
    for _ in range(100):
        picture = session.draw_frame(image.copy(), options)
        if not face or blue(picture) or options.view != "overlay":
            return picture
        time.sleep(0.01)
    raise AssertionError("the face was not marked")


def test_a_camera_follows_what_is_chosen(session: Session, tmp_path: Path):
    truth = draw_face(background(240, 320), (150, 120), 60)
    picture = shown(session, True)
    assert abs(blue(picture) - truth.mean()) < 0.01
    hidden = shown(session, True, Options(view="fill-face"))  # at once, and all of the face
    assert (hidden[truth] == 0).all()
    assert blue(shown(session, True, Options(color=(0, 0, 255), alpha=1.0, smooth=0.0))) > 0
    with pytest.raises(ZeroDivisionError):
        session.draw_frame(np.zeros((0, 0, 3), np.uint8), OPTIONS)
    assert blue(shown(session, True)) > 0  # it goes on


def test_visitors_do_not_see_each_other(session: Session, tmp_path: Path):
    other = Session(tmp_path, session.network)
    for _ in range(5):
        assert blue(shown(session, True)) > 0
        assert blue(shown(other, False)) == 0


def test_a_page_that_is_closed_ends_its_work_and_leaves_nothing(session: Session):
    clip("clip.mp4", 400)
    work = threading.Thread(target=session.do_files, args=[[Path("clip.mp4")], OPTIONS])
    work.start()
    while not list(session.folder.glob("*/results/*")):
        time.sleep(0.01)
    start = time.perf_counter()
    session.close()
    work.join()
    assert not session.folder.exists()
    assert time.perf_counter() - start < 5


def test_a_page_that_is_closed_waits_for_what_is_being_written(session: Session):
    closing = threading.Thread(target=session.close)
    with session.busy:
        closing.start()
        time.sleep(0.1)
        assert session.folder.exists()
    closing.join()
    assert not session.folder.exists()


def test_what_begins_when_a_page_is_closed_ends_at_once(session: Session):
    clip("clip.mp4", 40)
    session.closed = True
    assert session.do_files([Path("clip.mp4")], OPTIONS).results == []


def test_a_visitors_files_are_done_one_list_after_another(session: Session, monkeypatch):
    inside, most = [], []

    def run_all(plan, worker) -> list:
        inside.append(plan)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        return []

    monkeypatch.setattr(module, "run_all", run_all)
    photo("a.png")
    work = [threading.Thread(target=session.do_files, args=[[Path("a.png")], OPTIONS]) for _ in range(3)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert most == [1, 1, 1]


def test_one_network_serves_several_threads_one_at_a_time():
    inside, most = [], []

    def network(batch: np.ndarray) -> np.ndarray:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()
        return batch + 1

    network.name = "plus one"
    safe = one_at_a_time(network)
    threads = [threading.Thread(target=lambda: [safe(np.zeros(1)) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(most) == 40 and safe(np.zeros(1)) == 1
