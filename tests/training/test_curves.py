"""The picture of a log."""

from __future__ import annotations

import pytest

from files.pictures import read_image
from training.curves import plot_curves

ROW = {"epoch": 1, "step": 9, "lr": 1e-3, "loss": 0.5, "train_iou": 0.8, "val_iou": 0.7}


def test_a_log_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    drawn = []
    for loss in (0.3, 0.1):
        plot_curves(tmp_path / "c.png", [ROW, {**ROW, "epoch": 2, "loss": loss}])
        drawn.append(read_image(tmp_path / "c.png"))
    assert drawn[0].std() > 10
    assert (drawn[0] != drawn[1]).any()
