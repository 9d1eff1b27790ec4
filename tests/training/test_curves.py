"""curves.py: a picture of a log, and a message for what is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training.curves import write_log
from utils import read_image

ROOT = Path(__file__).resolve().parents[2]
ROW = {"epoch": 1, "step": 9, "lr": 1e-3, "loss": 0.5, "train_iou": 0.8, "val_iou": 0.7}


def draw(folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "training.curves", str(folder / "log.csv"), str(folder / "c.png")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_log_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    write_log(tmp_path / "log.csv", [ROW, {**ROW, "epoch": 2, "loss": 0.3}])
    result = draw(tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert read_image(tmp_path / "c.png").std() > 10


@pytest.mark.parametrize(
    "content", ["", "epoch,loss,train_iou,val_iou\n", "epoch,loss,train_iou,val_iou\n1,2", "a\0"]
)
def test_what_is_no_log_is_refused(content, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "log.csv").write_text(content)
    result = draw(tmp_path)
    assert result.returncode == 1 and result.stderr.startswith(f"curves.py: {tmp_path}")
    assert "Traceback" not in result.stderr and not (tmp_path / "c.png").exists()
