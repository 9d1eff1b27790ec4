"""Checkpoints: what is written is read back, and what is broken is named."""

import errno
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from training.checkpoint import read_checkpoint, without_prefix, write_checkpoint
from utils import UserError


def test_round_trip(tmp_path):
    tensors = {"model.a": np.arange(6, dtype=np.float32).reshape(2, 3), "model.n": np.array(7, np.int64)}
    state = {"step": 3, "log": [{"loss": 0.1 + 0.2, "val_iou": float("nan")}], "options": {"data": "a b"}}
    write_checkpoint(tmp_path / "c.safetensors", tensors, state)
    read, read_state = read_checkpoint(tmp_path / "c.safetensors")
    assert read.keys() == tensors.keys()
    assert all(np.array_equal(read[name], tensors[name]) for name in tensors)
    assert read_state["log"][0]["loss"] == 0.1 + 0.2  # every bit of it
    assert np.isnan(read_state["log"][0]["val_iou"])
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "new").touch()
    write_checkpoint(tmp_path / "c.safetensors", {"a": np.ones(2, np.float32)}, {})
    assert (tmp_path / "c.safetensors").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, {"a": np.ones(2, np.float32)}, {"step": 1})

    def full(descriptor):  # some disks say so only when all is to be on them
        os.truncate(descriptor, 20)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, {"a": np.zeros(2, np.float32)}, {"step": 2})
    assert read_checkpoint(path)[1] == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text", "weights", "state"])
def test_what_is_no_checkpoint_is_named(tmp_path, damage, random_weights):
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, {"a": np.ones(1000, np.float32)}, {"step": 1})
    if damage == "missing":
        path.unlink()
    elif damage == "weights":
        path = random_weights
    elif damage == "state":
        save_file({"a": np.ones(3, np.float32)}, path, metadata={"training_state": "not JSON"})
    else:
        content = {"empty": b"", "truncated": path.read_bytes()[:-500], "text": b"hello" * 100}[damage]
        path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        read_checkpoint(path)


def test_prefixes():
    tensors = {"model.a": 1, "model.model.b": 2}
    assert without_prefix("model.", {**tensors, "ema.a": 3}) == {"a": 1, "model.b": 2}
