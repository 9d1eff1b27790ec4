"""The export's command line; INT8 is made, checked against f32, and refused where its masks differ."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from arrays import batch_of
from programs import ended

from files.pictures import write_image
from runtimes.choose import open_runtime
from runtimes.onnx_graph import build_onnx
from runtimes.openvino_runtime import int8_path
from tools import export
from utils import UserError


def test_script_writes_onnx(tmp_path: Path, random_weights: Path, session_state: dict) -> None:
    output = tmp_path / "new folder" / "network.onnx"
    command = [sys.executable, "-m", "tools.export", "--weights", random_weights, "--output", output]
    subprocess.run(command, check=True, timeout=300)
    assert output.read_bytes() == build_onnx(session_state).SerializeToString()
    assert list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "missing.safetensors"], "no weights at missing.safetensors"),
        (["--int8"], "--int8 needs --data"),
        (["--size", "100"], "multiple of 32"),
        (["--images", "0"], "not a whole number from 1"),
        (["--int8", "--data", ".", "--output", "w.XML"], "w.XML: the file's name must end in .xml"),
        (["--output", "w.safetensors"], "w.safetensors: the file's name must end in .onnx"),
    ],
)
def test_what_is_wrong_is_said(arguments: list, message: str, run_here: Callable) -> None:
    result = run_here(export.main, *arguments)
    assert result.returncode != 0 and message in result.stderr


def options(**values) -> argparse.Namespace:
    return argparse.Namespace(**{"images": 1, "size": 64, **values})


def test_int8_does_not_take_the_place_of_the_weights(tmp_path: Path, capsys) -> None:
    weights = tmp_path / "model.bin"
    weights.write_bytes(b"hours of work")
    arguments = ("--weights", weights, "--int8", "--data", tmp_path, "--output", tmp_path / "model.xml")
    assert ended(export.main, *arguments) == 1
    assert "model.bin is one of the inputs" in capsys.readouterr().err
    assert weights.read_bytes() == b"hours of work"


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A data folder of blobs, the "face" being where the picture is bright."""
    for split in ("train", "test"):
        for index in range(3):
            plane = batch_of((1 + index, 3, 64, 64))[0].transpose(1, 2, 0)
            image = np.clip(plane * 50 + 110, 0, 255).astype(np.uint8)
            write_image(tmp_path / "faces" / split / "images" / f"{index}.png", image)
            mask = np.where(image[..., 0] > 110, 255, 0).astype(np.uint8)
            mask[:8] = 128  # not judged
            write_image(tmp_path / "faces" / split / "masks" / f"{index}.png", mask)
    return tmp_path / "faces"


def test_int8_is_made_and_used(tmp_path: Path, random_weights: Path, faces: Path, run_here: Callable) -> None:
    pytest.importorskip("nncf")
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(random_weights.read_bytes())
    arguments = ("--weights", weights, "--int8", "--data", faces, "--images", 3, "--size", 64)
    result = run_here(export.main, *arguments)
    assert result.returncode == 0, result.stderr
    assert "mean IoU on 3 pictures: f32 0." in result.stdout
    output = int8_path(weights)
    assert sorted(tmp_path.glob("w*")) == [output.with_suffix(".bin"), output, weights]
    assert output.with_suffix(".bin").stat().st_size < weights.stat().st_size / 3.5

    network = open_runtime(weights, "openvino")
    assert network.name == "OpenVINO int8 on CPU"
    reference = open_runtime(weights, "openvino", precision="f32")
    for shape in ((1, 3, 64, 96), (2, 3, 128, 32)):
        batch = batch_of(shape)
        found, expected = network(batch), reference(batch)
        assert found.shape == expected.shape
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


def test_int8_with_other_masks_is_not_written(
    tmp_path: Path, random_state: dict, random_weights: Path, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nncf")
    output = tmp_path / "w-int8.xml"
    ious = iter([0.9, 0.8979])
    monkeypatch.setattr(export, "mean_iou", lambda *_: next(ious))
    with pytest.raises(UserError, match=r"more than 0\.2 points"):
        export.export_int8(
            build_onnx(random_state), options(weights=random_weights, data=faces, output=output)
        )
    assert not list(tmp_path.glob("w-int8*"))


def test_int8_without_nncf(tmp_path: Path, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(UserError, match="pip install nncf"):
        export.export_int8(None, options(weights=tmp_path / "w", data=faces, output=tmp_path / "w.xml"))


def test_mean_iou_leaves_out_what_is_not_judged() -> None:
    class Left:
        """Finds the left half of every picture."""

        name = "left half"

        def __call__(self, batch: np.ndarray) -> np.ndarray:
            logits = np.full((1, 1, 64, 64), -1, np.float32)
            logits[..., :32] = 1
            return logits

    image = np.zeros((64, 64, 3), np.uint8)
    exact, wide, top, none = (np.zeros((64, 64), np.uint8) for _ in range(4))
    exact[:, :32] = 255
    wide[:, :48] = 255  # found: 32 of 48 columns
    top[:32] = 255  # found: half of what is judged
    top[32:] = 128
    pairs = [(image, exact), (image, wide), (image, top)]
    assert export.mean_iou(Left(), pairs, 64) == pytest.approx((1 + 32 / 48 + 1 / 2) / 3)
    assert export.mean_iou(Left(), [(image, none)], 64) == 0
