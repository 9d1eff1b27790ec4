"""The Python interface: python -m pytest tests/test_faceseg.py"""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clips import make_clip
from scenes import RedDetector, background, draw_face, iou, left_quarter, red_runtime

import faceseg
import infer

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def make(monkeypatch):
    """What makes a FaceSegmenter with a network that knows red faces, or another."""

    def make_one(network=red_runtime, **options) -> faceseg.FaceSegmenter:
        monkeypatch.setattr(faceseg, "open_network", lambda options: network)
        monkeypatch.setattr(sys.modules["_faceseg.media.run"], "Detector", RedDetector)
        return faceseg.FaceSegmenter(**options)

    return make_one


@pytest.mark.parametrize("flip", [True, False])
def test_an_image_is_segmented_in_the_mirror_too(flip, make):
    segmenter = make(left_quarter, size=64, flip=flip, detect=False)
    probability = segmenter.segment(np.zeros((64, 64, 3), np.uint8))
    assert (probability[32, 8] > 0.5, probability[32, 56] > 0.5) == (True, flip)


def test_one_image(make):
    segmenter = make()
    frame = background(360, 640)
    truth = draw_face(frame, (400, 200), 30)
    probability = segmenter.segment(frame[..., ::-1])
    assert probability.shape == (360, 640) and probability.dtype == np.float32
    assert probability.min() >= 0 and probability.max() <= 1 and iou(probability > 0.5, truth) > 0.95
    assert not (segmenter.segment(frame) > 0.5).any()  # blue and red exchanged: no red face
    (face,) = segmenter.faces(frame[..., ::-1])
    left, top, right, bottom = face.region
    assert iou(face.mask > 127, truth[top:bottom, left:right]) > 0.95 and face.confidence > 0.9
    assert face.area(0.5) == np.count_nonzero(probability > 0.5) and face.box == (378, 170, 423, 231)
    assert segmenter.faces(frame) == []


def test_the_old_functions_serve_with_a_remark(make):
    make()  # the fakes stay until the end of the test
    frame = background(360, 640)
    draw_face(frame, (400, 200), 30)
    with pytest.warns(DeprecationWarning, match="FaceSegmenter"):
        (face,) = infer.faces(frame[..., ::-1])
    assert face.box == (378, 170, 423, 231) and infer.segment(frame[..., ::-1]).max() > 0.9
    infer.kept_segmenter.cache_clear()


@pytest.mark.parametrize(
    "image",
    [None, "a.png", np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 5, 3), np.uint8), [[1]]],
)
def test_what_is_no_image_is_refused(image, make):
    with pytest.raises(ValueError, match="HxWx3 uint8 RGB"):
        make().segment(image)


def test_a_video(make, tmp_path):
    frames, truths = [], []
    for step in range(6):
        frames.append(background(240, 320))
        truths.append(draw_face(frames[-1], (80 + 3 * step, 120), 40))
    make_clip(tmp_path / "in.mp4", frames, 12.5)
    found = list(make().video(tmp_path / "in.mp4"))
    assert [frame.time for frame in found] == pytest.approx([step / 12.5 for step in range(6)])
    for frame, picture, truth in zip(found, frames, truths, strict=True):
        assert np.abs(frame.image.astype(int) - picture[..., ::-1]).mean() < 8
        assert [face.track for face in frame.faces] == [1] and iou(frame.probability > 0.5, truth) > 0.85
    with pytest.raises(faceseg.UserError, match="no such file"):
        next(make().video("none.mp4"))


def test_weights_that_cannot_be_used_are_named():
    with pytest.raises(faceseg.UserError, match=r"no weights at no\.safetensors"):
        faceseg.FaceSegmenter("no.safetensors")


@pytest.mark.parametrize("size", [-32, 0, 100, 100_000, 1.5, "large"])
def test_a_size_that_the_network_cannot_take_is_refused(size):
    with pytest.raises(faceseg.UserError, match=r"is not a (whole number from 32 to 4096|multiple of 32)"):
        faceseg.FaceSegmenter(size=size)


@pytest.mark.parametrize(
    "choice",
    [{"smooth": 1.5}, {"smooth": "x"}, {"runtime": "tensorrt"}, {"precision": "fp16"}, {"device": "tpu"}],
)
def test_a_choice_that_there_is_not_is_refused(choice):
    with pytest.raises(faceseg.UserError, match=str(next(iter(choice.values())))):
        faceseg.FaceSegmenter(**choice)


def test_faces_and_errors_come_from_other_processes(make):
    """A process that has not imported faceseg can read them: it is told where they are."""
    frame = background(360, 640)
    draw_face(frame, (400, 200), 30)
    given = pickle.dumps((make().faces(frame[..., ::-1]), faceseg.UserError("words")))
    program = "import pickle, sys; faces, error = pickle.load(sys.stdin.buffer); print(faces[0].box, error)"
    command = [sys.executable, "-c", program]
    shown = subprocess.run(command, input=given, capture_output=True, cwd=ROOT, timeout=60)
    assert b"left=378, top=170, right=423, bottom=231) words" in shown.stdout, shown.stderr


HOST = """
import sys
import utils, dataset, files
before = dict(sys.modules)
sys.path.append({root!r})
from faceseg import FaceSegmenter
import numpy as np
segmenter = FaceSegmenter({weights!r}, size=64, detect=False)
print(segmenter.segment(np.zeros((64, 64, 3), np.uint8)).shape)
import utils
print(utils.mine, all(sys.modules[name] is before[name] for name in ("utils", "dataset", "files")))
print([name for name in ("media", "faces", "runtimes") if name in sys.modules])
"""


def test_a_host_program_keeps_its_own_modules_of_our_names(tmp_path, random_weights):
    for name in ("utils", "dataset", "files", "media"):
        (tmp_path / f"{name}.py").write_text("mine = 'mine'")
    (tmp_path / "host.py").write_text(HOST.format(root=str(ROOT), weights=str(random_weights)))
    done = subprocess.run(
        [sys.executable, "host.py"], cwd=tmp_path, env={"PATH": "/usr/bin"}, capture_output=True, text=True
    )
    assert done.stdout == "(64, 64)\nmine True\n[]\n", done.stderr


def test_infer_has_its_own_modules_in_a_host_program(tmp_path):
    (tmp_path / "utils.py").write_text("mine = 'mine'")
    (tmp_path / "host.py").write_text(
        f"import sys; sys.path.append({str(ROOT)!r}); import infer; print(infer.faces)"
    )
    done = subprocess.run([sys.executable, "host.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("<function faces"), done.stderr
