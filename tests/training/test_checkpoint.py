"""Checkpoints: what is written is read back, and what is damaged is named."""

import errno
import json
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

from training import checkpoint as module
from training.checkpoint import Checkpoint, Epoch, Layout, TrainState, read_checkpoint, write_checkpoint
from training.options import Recipe
from utils import UserError

LAYOUT = Layout(1, 3, 12, 99)
ROW = Epoch(1, 3, 1e-3, 0.1 + 0.2, 0.5, None)


def make(step=3, **tensors):
    return Checkpoint(
        tensors or {"model.a": np.ones(2, np.float32)}, Recipe(), TrainState(LAYOUT, step, first_loss=2.0)
    )


def test_round_trip(tmp_path):
    tensors = {"model.a": np.arange(6, dtype=np.float32).reshape(2, 3), "model.n": np.array(7, np.int64)}
    state = TrainState(LAYOUT, 4, 1 / 3, 0.7, 0.2, first_loss=1.5, log=[ROW])
    recipe = Recipe(data="a b", lr=0.1 + 0.2, minutes=0.7, sizes="32:1", size=32, demo=True)
    write_checkpoint(tmp_path / "c.safetensors", Checkpoint(tensors, recipe, state))
    read = read_checkpoint(tmp_path / "c.safetensors")
    assert read.tensors.keys() == tensors.keys()
    assert all(np.array_equal(read.tensors[name], tensors[name]) for name in tensors)
    assert (read.recipe, read.state) == (recipe, state)  # every bit of it
    assert read.part("model.").keys() == {"a", "n"}
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "new").touch()
    write_checkpoint(tmp_path / "c.safetensors", make())
    assert (tmp_path / "c.safetensors").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, make(1))

    def full(descriptor):  # some disks say so only when all is to be on them
        os.truncate(descriptor, 20)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, make(2))
    assert read_checkpoint(path).state.step == 1
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text", "weights", "state"])
def test_what_is_no_checkpoint_is_named(tmp_path, damage, random_weights):
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, make(a=np.ones(1000, np.float32)))
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


def test_a_panic_of_the_library_ends_in_words(tmp_path, monkeypatch):
    class PanicException(BaseException):
        """As Rust's: no Exception."""

    def panic(*arguments, **more):
        raise PanicException("capacity overflow")

    write_checkpoint(tmp_path / "c.safetensors", make())
    monkeypatch.setattr(module, "safe_open", panic)
    with pytest.raises(UserError, match=r"c\.safetensors is broken .*capacity overflow"):
        read_checkpoint(tmp_path / "c.safetensors")


def test_an_option_that_came_later_has_its_default(tmp_path):
    write_checkpoint(tmp_path / "c.safetensors", make())
    with module.safe_open(str(tmp_path / "c.safetensors"), framework="numpy") as file:
        header = json.loads(file.metadata()["training_state"])
    del header["options"]["gentle"]
    save_file(
        {"a": np.ones(1, np.float32)}, tmp_path / "c.safetensors", {"training_state": json.dumps(header)}
    )
    assert read_checkpoint(tmp_path / "c.safetensors").recipe == Recipe()


def test_a_sparse_file_of_8_gb_is_refused_without_reading_it(tmp_path):
    count = 2 * 10**9
    entry = {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}
    header = json.dumps({"model.a": entry}).encode()
    path = tmp_path / "c.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + 4 * count)
    with pytest.raises(UserError, match=r"c\.safetensors is too large"):
        read_checkpoint(path)


NAN = float("nan")


@pytest.mark.parametrize(
    "part, change, named",
    [
        *(("options", {name: None}, f"{name} is None") for name in ("size", "batch_size", "epochs", "lr")),
        *(("options", {name: "32"}, f"{name} is 32") for name in ("size", "batch_size", "epochs", "lr")),
        ("options", {"data": None}, "data is None"),
        ("options", {"data": ["a"]}, r"data is \['a'\]"),
        ("options", {"size": 33}, "--size: 33 is not a multiple of 32"),
        ("options", {"size": True}, "size is True"),
        ("options", {"lr": NAN}, "--lr"),
        ("options", {"lr": 10**400}, "lr"),
        ("options", {"sizes": [[1, 2]]}, r"sizes is \[\[1, 2\]\]"),
        ("options", {"sizes": "1:2"}, "--sizes"),
        ("options", {"optimizer": "x"}, "--optimizer: 'x' is none of adamw, sgd"),
        ("options", {"__class__": "x"}, "__class__"),
        ("options", [], "'list'"),
        ("options", None, "'NoneType'"),
        ("state", {"step": -1}, "impossible"),
        ("state", {"step": 1.5}, "step is 1.5"),
        ("state", {"step": None}, "step is None"),
        ("state", {"step": 10**30}, "impossible"),
        ("state", {"step": 2}, "impossible"),  # before the log's last
        ("state", {"step": 10**400, "log": [{**vars(ROW), "step": 10**400}]}, "impossible"),
        ("state", {"seconds": NAN}, "impossible"),
        ("state", {"loss_sum": "abc"}, "loss_sum is abc"),
        ("state", {"first_loss": None}, "impossible"),
        ("state", {"start_iou": 0.5}, "impossible"),  # and no best
        ("state", {"best_iou": [1]}, r"best_iou is \[1\]"),
        ("state", {"log": None}, "'NoneType'"),
        ("state", {"log": [3]}, "'int'"),
        ("state", {"log": [{"step": 99}]}, "missing 5 required .* 'epoch'"),
        ("state", {"layout": 3}, "'int'"),
        ("state", {"more": 3}, "more is 3"),
    ],
)
def test_damaged_values_are_named(tmp_path, part, change, named):
    path = tmp_path / "c.safetensors"
    write_checkpoint(
        path,
        Checkpoint({"a": np.ones(1, np.float32)}, Recipe(), TrainState(LAYOUT, 4, first_loss=2.0, log=[ROW])),
    )
    with module.safe_open(str(path), framework="numpy") as file:
        header = json.loads(file.metadata()["training_state"])
    header[part] = {**header[part], **change} if isinstance(change, dict) else change
    save_file({"a": np.ones(1, np.float32)}, path, {"training_state": json.dumps(header)})
    with pytest.raises(UserError, match=rf"c\.safetensors: its header .*{named}.*start anew with --weights"):
        read_checkpoint(path)
