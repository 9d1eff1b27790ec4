"""weights.py: all formats give the same arrays; broken, foreign, unsafe files are refused."""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from arrays import SMALL, assert_same
from safetensors.numpy import load_file, save_file

from runtimes import weights
from runtimes.network import check_linknet34
from runtimes.weights import default_weights, read_weights, trained_size, write_weights
from utils import UserError

ROOT = Path(__file__).resolve().parents[2]


def write_variable(folder: Path, array: np.ndarray, kind: str, one_line: bool = False) -> None:
    """A variable as old versions of OneFlow wrote it: protobuf text and raw bytes."""
    folder.mkdir(parents=True)
    if one_line:
        shape = f"dim: [{', '.join(map(str, array.shape))}]"
    else:
        shape = "\n".join(f"  dim: {side}" for side in array.shape)
    (folder / "meta").write_text(f"shape {{\n{shape}\n}}\ndata_type: {kind}\n")
    (folder / "out").write_bytes(array.tobytes())


def write_old_directory(folder: Path, state: dict) -> None:
    for name, array in state.items():
        write_variable(folder / name, array, "kInt64" if array.dtype == np.int64 else "kFloat")
    (folder / "snapshot_done").write_bytes(b"")


def test_safetensors_round_trip(tmp_path: Path, random_state: dict) -> None:
    write_weights(tmp_path / "w.safetensors", random_state, metadata={"made by": "a test"})
    assert_same(read_weights(tmp_path / "w.safetensors"), random_state)
    assert list(tmp_path.iterdir()) == [tmp_path / "w.safetensors"]  # no temporary file is left


def test_half_is_half_the_size_and_keeps_the_counter(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", SMALL, half=True)
    stored = load_file(tmp_path / "w.safetensors")
    assert stored["conv.weight"].dtype == np.float16
    assert stored["bn.num_batches_tracked"].dtype == np.int64
    assert_same(read_weights(tmp_path / "w.safetensors"), SMALL)  # these numbers are exact in float16


def test_half_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"big.*float16"):
        write_weights(tmp_path / "w.safetensors", {"big": np.array([1e6], np.float32)}, half=True)
    assert not list(tmp_path.iterdir())


def test_writing_keeps_the_order_of_a_transposed_array(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    write_weights(tmp_path / "w.safetensors", {"a": array})
    np.testing.assert_array_equal(read_weights(tmp_path / "w.safetensors")["a"], array)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_weights(tmp_path / "w.safetensors", SMALL)

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"w\.safetensors: No space left"):
        write_weights(tmp_path / "w.safetensors", {"other": np.zeros(1, np.float32)})
    assert_same(read_weights(tmp_path / "w.safetensors"), SMALL)


@pytest.mark.parametrize("prefix", ["ema.", "model."])
def test_training_checkpoint(tmp_path: Path, prefix: str) -> None:
    stored = {"optimizer.momentum": np.ones(3, np.float32)}
    stored.update(
        {
            f"model.{name}": array if prefix == "model." else np.zeros_like(array)
            for name, array in SMALL.items()
        }
    )
    if prefix == "ema.":
        stored.update({f"ema.{name}": array for name, array in SMALL.items()})
    save_file(stored, tmp_path / "last.safetensors")
    assert_same(read_weights(tmp_path / "last.safetensors"), SMALL)


@pytest.mark.parametrize("nested", [0, 1, 2])
def test_old_oneflow_directory(tmp_path: Path, random_state: dict, nested: int) -> None:
    folder = tmp_path.joinpath(*["inner"] * nested)
    write_old_directory(folder, random_state)
    state = read_weights(tmp_path)
    assert_same(state, random_state)
    check_linknet34(state)


def test_old_directory_number_types_and_spellings(tmp_path: Path) -> None:
    write_variable(tmp_path / "half", np.array([1.5, -2], np.float16), "kFloat16", one_line=True)
    write_variable(tmp_path / "double", np.array([[1.25]], np.float64), "kDouble")
    write_variable(tmp_path / "number", np.array([3], np.int32), "kInt32")
    write_variable(tmp_path / "scalar", np.array(4.0, np.float32), "kFloat")
    state = read_weights(tmp_path)
    assert {name: array.tolist() for name, array in state.items()} == {
        "half": [1.5, -2.0],
        "double": [[1.25]],
        "number": [3.0],
        "scalar": 4.0,
    }
    assert all(array.dtype == np.float32 for array in state.values())


def test_old_directory_with_a_short_file(tmp_path: Path) -> None:
    write_old_directory(tmp_path, SMALL)
    with open(tmp_path / "conv.weight" / "out", "wb") as file:
        file.truncate(8_000_000_000)  # sparse: it takes no room on the disk, and is not read
    with pytest.raises(UserError, match=r"conv.weight.out has 8000000000 bytes .* needs 96"):
        read_weights(tmp_path)
    (tmp_path / "conv.weight" / "out").write_bytes(b"\0" * 95)
    with pytest.raises(UserError, match=r"conv.weight.out has 95 bytes .* needs 96"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    "meta",
    ["", "shape { dim: 2 } data_type: kOFRecord", "\xff\xfe", "dim: " + "9" * 9999 + " data_type: kFloat"],
)
def test_old_directory_with_a_broken_meta(tmp_path: Path, meta: str) -> None:
    write_old_directory(tmp_path, SMALL)
    (tmp_path / "bn.running_var" / "meta").write_bytes(meta.encode("latin-1"))
    with pytest.raises(UserError, match=r"bn\.running_var"):
        read_weights(tmp_path)


def test_old_directory_with_a_variable_of_forty_dimensions(tmp_path: Path) -> None:
    write_variable(tmp_path / "a", np.ones((1,) * 32, np.float32), "kFloat")
    dims = "dim: 1 " * 40
    (tmp_path / "a" / "meta").write_text(f"shape {{ {dims} }} data_type: kFloat")
    with pytest.raises(UserError, match=r"describes no array .*dim: 1 dim: 1"):
        read_weights(tmp_path)


def test_old_directory_without_meta(tmp_path: Path) -> None:
    write_old_directory(tmp_path, SMALL)
    (tmp_path / "conv.weight" / "meta").unlink()
    with pytest.raises(UserError, match=r"conv\.weight"):
        read_weights(tmp_path)


def test_counter_is_added_and_its_shape_mended(tmp_path: Path) -> None:
    write_old_directory(tmp_path / "without", {"bn.running_var": SMALL["bn.running_var"]})
    assert read_weights(tmp_path / "without")["bn.num_batches_tracked"] == 0
    for counter in (np.array([7], np.int64), np.array([7], np.float32)):
        save_file({**SMALL, "bn.num_batches_tracked": counter}, tmp_path / "with.safetensors")
        assert_same(read_weights(tmp_path / "with.safetensors"), SMALL)


def test_a_malicious_pickle_does_not_run(tmp_path: Path) -> None:
    """This pickle makes a file when it is read."""
    harm = tmp_path / "harm"
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "pickled_data").write_bytes(f"cos\nsystem\n(S'touch {harm}'\ntR.".encode())
    with pytest.raises(UserError, match=r"holds a pickle.*tools\.convert --allow-pickle"):
        read_weights(folder)
    assert not harm.exists()


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
def test_pytorch_file(tmp_path: Path, nest: str | None) -> None:
    torch = pytest.importorskip("torch")
    state = {f"module.{name}": torch.from_numpy(array) for name, array in SMALL.items()}
    torch.save(state if nest is None else {nest: state, "epoch": 3}, tmp_path / "w.pth")
    assert_same(read_weights(tmp_path / "w.pth"), SMALL)


def test_pytorch_file_of_bfloat16(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"a.weight": torch.tensor([0.5, -2.0], dtype=torch.bfloat16)}, tmp_path / "w.pth")
    assert_same(read_weights(tmp_path / "w.pth"), {"a.weight": np.array([0.5, -2.0], np.float32)})


def test_pytorch_file_with_code_in_it(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Harm:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {tmp_path / 'harm'}",)

    torch.save({"state_dict": Harm()}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "harm").exists()


def test_pytorch_file_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "w.pth").write_bytes(b"anything")
    with pytest.raises(UserError, match="torch is not installed"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"", b"short", b"<html>not found</html>", b"\xff" * 100, "cut"])
def test_broken_safetensors_file(tmp_path: Path, random_weights: Path, content: bytes | str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(random_weights.read_bytes()[:1_000_000] if content == "cut" else content)
    with pytest.raises(UserError, match=r"bad\.safetensors"):
        read_weights(path)


def test_a_safetensors_file_too_large_for_a_network(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[2000000000],"data_offsets":[0,8000000000]}}'
    with open(tmp_path / "bad.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 8_000_000_000)  # sparse: it takes no room on the disk
    with pytest.raises(UserError, match=r"bad\.safetensors is larger than 2 GB"):
        read_weights(tmp_path / "bad.safetensors")


def test_a_panic_of_safetensors_is_explained(tmp_path: Path, monkeypatch) -> None:
    """Where memory runs out, Rust's panic is a BaseException."""

    def panic(*arguments, **more) -> None:
        raise type("PanicException", (BaseException,), {})("PyObject pointer is null")

    (tmp_path / "bad.safetensors").write_bytes(b"x")
    monkeypatch.setattr(weights, "safe_open", panic)
    with pytest.raises(UserError, match=r"bad\.safetensors is not a readable.*pointer is null"):
        read_weights(tmp_path / "bad.safetensors")


def test_paths_without_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no weights at .*missing\.safetensors.*--weights published"):
        read_weights(tmp_path / "missing.safetensors")
    with pytest.raises(UserError, match="holds no OneFlow weights"):
        read_weights(tmp_path)
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(UserError, match="holds no arrays"):
        read_weights(tmp_path / "empty.safetensors")


def test_weights_know_the_size_they_were_trained_at(tmp_path, random_state, random_weights):
    header = {"training_state": json.dumps({"options": {"size": 128}})}
    averaged = {f"ema.{name}": array for name, array in random_state.items()}
    save_file(averaged, tmp_path / "c.safetensors", header)
    write_weights(tmp_path / "w.safetensors", SMALL, metadata={"size": "192"})
    assert trained_size(tmp_path / "c.safetensors") == 128
    assert trained_size(tmp_path / "w.safetensors") == 192
    assert trained_size(random_weights) == 256
    with pytest.raises(UserError, match="there are no weights at"):
        trained_size(tmp_path / "nothing")


def test_default_weights_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_weights(default_weights())
