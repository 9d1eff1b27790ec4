"""The picture of a log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from files.pictures import read_image
from training.checkpoint import Epoch
from training.curves import plot_curves, write_log

ROW = Epoch(epoch=1, step=9, lr=1e-3, loss=0.5, train_iou=0.8, val_iou=0.7)


def test_a_log_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    drawn = []
    for loss, iou in ((0.3, 0.7), (0.1, 0.7), (0.1, None)):
        log = [replace(ROW, val_iou=iou), replace(ROW, epoch=2, loss=loss, val_iou=iou)]
        plot_curves(tmp_path / "c.png", log)
        drawn.append(read_image(tmp_path / "c.png"))
    assert drawn[0].std() > 10
    assert (drawn[0] != drawn[1]).any() and (drawn[1] != drawn[2]).any()


def test_a_log_is_a_table(tmp_path):
    write_log(tmp_path / "log.csv", [ROW, replace(ROW, epoch=2, val_iou=None)])
    assert (tmp_path / "log.csv").read_text().split() == [
        *("epoch,step,lr,loss,train_iou,val_iou", "1,9,0.001,0.5,0.8,0.7", "2,9,0.001,0.5,0.8,")
    ]
