"""torch_kernels.py: PyTorch computes the same network, gradients and batch statistics, and a training learns.

Needs PyTorch, which `bash test.sh` does not install: `bash tools/setup.sh torch` does.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import options, train_here

torch = pytest.importorskip("torch")

from linknet import LinkNet34  # noqa: E402
from runtimes.network import linknet34  # noqa: E402
from runtimes.torch_ops import TorchOps  # noqa: E402
from runtimes.weights import read_weights  # noqa: E402
from training import torch_kernels  # noqa: E402
from training.checkpoint import read_checkpoint  # noqa: E402
from training.torch_kernels import TorchLinkNet34  # noqa: E402
from utils import import_oneflow  # noqa: E402

flow = import_oneflow()

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained_state() -> dict:
    """The shipped weights: through random ones gradients grow, and their rounding with them."""
    return read_weights(ROOT / "weights" / "linknet34.safetensors")


def load(model: LinkNet34, state: dict) -> LinkNet34:
    model.load_state_dict({name: flow.tensor(array) for name, array in state.items()})
    return model


def batch(seed: int = 0) -> tuple:
    """Images (2, 3, 64, 96), and weights of their logits that make a loss of them."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((2, c, 64, 96)).astype(np.float32) for c in (3, 1))


def gradients(model: LinkNet34) -> dict:
    images, weights = batch()
    (model.train()(flow.tensor(images)) * flow.tensor(weights)).sum().backward()
    return {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}


def distance(found: dict, true: dict) -> float:
    """The norm of all differences by the norm of what is true."""
    squares = (((found[name] - true[name]) ** 2).sum() for name in true)
    return float(np.sqrt(sum(squares) / sum((array**2).sum() for array in true.values())))


@pytest.fixture(scope="module")
def true_gradients(trained_state: dict) -> dict:
    """PyTorch's in float64."""
    state = {name: torch.from_numpy(array.astype(np.float64)) for name, array in trained_state.items()}
    names = [name for name, _ in LinkNet34().named_parameters()]
    parameters = [state[name].requires_grad_() for name in names]
    images, weights = (torch.from_numpy(array.astype(np.float64)) for array in batch())
    loss = (linknet34(TorchOps(state, training=True), images) * weights).sum()
    return {name: g.numpy() for name, g in zip(names, torch.autograd.grad(loss, parameters))}


@pytest.mark.parametrize("kernels", ["oneflow", "torch"])
def test_gradients(trained_state: dict, true_gradients: dict, kernels: str) -> None:
    model = LinkNet34() if kernels == "oneflow" else TorchLinkNet34(mixed_precision=False)
    found = gradients(load(model, trained_state))
    limit = 0.02  # of float32: an activation near zero may fall on the other side of it
    assert distance(found, true_gradients) < limit
    for name, true in true_gradients.items():
        if true.ndim == 4:  # what a batch norm follows has biases of gradient 0
            assert distance({name: found[name]}, {name: true}) < 3 * limit, name


def test_gradients_in_mixed_precision(trained_state: dict, true_gradients: dict, monkeypatch) -> None:
    monkeypatch.setattr(torch_kernels, "has_bf16", lambda: True)  # slow elsewhere, but the same
    found = gradients(load(TorchLinkNet34(), trained_state))
    # Numbers of 8 bits, and the gradients of trained weights are small; of wrong ones it would be 1 and more.
    assert 1e-3 < distance(found, true_gradients) < 0.5


def test_evaluation_is_float32_and_the_same(trained_state: dict, monkeypatch) -> None:
    monkeypatch.setattr(torch_kernels, "has_bf16", lambda: True)
    images, _ = batch()
    one, other = load(LinkNet34(), trained_state).eval(), load(TorchLinkNet34(), trained_state).eval()
    with flow.no_grad():
        np.testing.assert_allclose(
            other(flow.tensor(images)).numpy(), one(flow.tensor(images)).numpy(), atol=1e-4
        )
    for name, array in trained_state.items():
        assert np.array_equal(other.state_dict()[name].numpy(), array), name


def test_batch_statistics_move_in_the_same_way(trained_state: dict) -> None:
    images, _ = batch()
    moved = []
    for model in (LinkNet34(), TorchLinkNet34(mixed_precision=False)):
        load(model, trained_state).train()(flow.tensor(images))
        moved.append({name: tensor.numpy() for name, tensor in model.named_buffers()})
    for name, array in moved[0].items():
        np.testing.assert_allclose(moved[1][name], array, rtol=1e-4, atol=1e-5, err_msg=name)
    assert moved[1]["firstbn.num_batches_tracked"] == trained_state["firstbn.num_batches_tracked"] + 1


def test_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        TorchLinkNet34()(flow.zeros(1, 3, 64, 65))


DEMO = ("--demo", "--size", "32", "--epochs", "2", "--batch-size", "32", "--workers", "0", "--device", "cpu")


@pytest.mark.slow  # the other kernels do the same in test_loop.py
def test_training_resumes_exactly(data: Path, tmp_path: Path) -> None:
    recipe = ("--kernels", "torch", "--epochs", "1")
    train_here(options(data, tmp_path / "whole", *recipe))
    train_here(options(data, tmp_path / "parts", *recipe), stop_at=2)
    train_here(["--resume", str(tmp_path / "parts" / "last.safetensors")])
    whole, parts = (
        read_checkpoint(tmp_path / name / "last.safetensors").tensors for name in ("whole", "parts")
    )
    assert [name for name in whole if not np.array_equal(whole[name], parts[name])] == []


@pytest.mark.slow
def test_two_processes_train(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "training/launch.py"),
        "--processes",
        "2",
        str(ROOT / "train.py"),
        *DEMO,
    ]
    losses = []
    for kernels in ("oneflow", "torch"):
        output = tmp_path / kernels
        more = ("--no-amp", "--epochs", "1", "--kernels", kernels, "--output", str(output))
        result = subprocess.run([*command, *more], capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr
        losses.append(float((output / "log.csv").read_text().splitlines()[1].split(",")[3]))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
