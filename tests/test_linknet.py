"""linknet.py, resnet.py: the network against a NumPy computation of the same weights; gradients; learning."""

from __future__ import annotations

import numpy as np
import pytest

flow = pytest.importorskip("linknet", exc_type=ImportError).flow

from linknet import LinkNet34  # noqa: E402
from resnet import ResNet34  # noqa: E402


def convolve(x: np.ndarray, state: dict, name: str, stride: int = 1, padding: int = 0) -> np.ndarray:
    """The textbook sum over the kernel's places, in float64. x: (C, H, W)."""
    weight = state[f"{name}.weight"].astype(np.float64)  # (out, in, kh, kw)
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    rows, columns = weight.shape[2:]
    height, width = (x.shape[1] - rows) // stride + 1, (x.shape[2] - columns) // stride + 1
    y = np.zeros((weight.shape[0], height, width))
    for row in range(rows):
        for column in range(columns):
            part = x[:, row : row + stride * height : stride, column : column + stride * width : stride]
            y += np.tensordot(weight[:, :, row, column], part, 1)
    return y + state[f"{name}.bias"][:, None, None] if f"{name}.bias" in state else y


def convolve_transposed(x: np.ndarray, state: dict, name: str, stride: int, padding: int = 0) -> np.ndarray:
    """Each input pixel adds its multiple of the kernel to the output."""
    weight = state[f"{name}.weight"].astype(np.float64)  # (in, out, kh, kw)
    rows, columns = weight.shape[2:]
    y = np.zeros((weight.shape[1], (x.shape[1] - 1) * stride + rows, (x.shape[2] - 1) * stride + columns))
    for row in range(rows):
        for column in range(columns):
            place = y[
                :, row : row + stride * x.shape[1] : stride, column : column + stride * x.shape[2] : stride
            ]
            place += np.tensordot(weight[:, :, row, column].T, x, 1)
    y = y[:, padding : y.shape[1] - padding, padding : y.shape[2] - padding]
    return y + state[f"{name}.bias"][:, None, None]


def normalise(x: np.ndarray, state: dict, name: str) -> np.ndarray:
    gamma, beta, mean, variance = (
        state[f"{name}.{entry}"].astype(np.float64)[:, None, None]
        for entry in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def pool(x: np.ndarray) -> np.ndarray:
    x = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max((3, 4))


def linknet34(x: np.ndarray, state: dict) -> np.ndarray:
    """(3, H, W) -> (classes, H, W) logits, in float64."""
    x = pool(relu(normalise(convolve(x, state, "firstconv", 2, 3), state, "firstbn")))
    maps = []
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            name = f"encoder{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = relu(normalise(convolve(x, state, f"{name}.conv1", stride, 1), state, f"{name}.bn1"))
            y = normalise(convolve(y, state, f"{name}.conv2", 1, 1), state, f"{name}.bn2")
            if f"{name}.downsample.0.weight" in state:
                x = normalise(
                    convolve(x, state, f"{name}.downsample.0", stride), state, f"{name}.downsample.1"
                )
            x = relu(x + y)
        maps.append(x)
    for stage in (4, 3, 2, 1):
        name = f"decoder{stage}"
        x = relu(normalise(convolve(x, state, f"{name}.conv1"), state, f"{name}.norm1"))
        x = relu(normalise(convolve_transposed(x, state, f"{name}.deconv2", 2, 1), state, f"{name}.norm2"))
        x = relu(normalise(convolve(x, state, f"{name}.conv3"), state, f"{name}.norm3"))
        if stage > 1:
            x = x + maps[stage - 2]
    x = relu(convolve_transposed(x, state, "finaldeconv1", 2))
    x = relu(convolve(x, state, "finalconv2"))
    return convolve(x, state, "finalconv3", 1, 1)


def disc(height: int, width: int) -> np.ndarray:
    """(H, W) float32: 1 in a disc, 0 elsewhere."""
    y, x = np.mgrid[0:height, 0:width]
    return ((y / height - 0.4) ** 2 + (x / width - 0.6) ** 2 < 0.06).astype(np.float32)


def picture(height: int, width: int) -> np.ndarray:
    """(3, H, W) float32 like a normalised photo: a bright disc on a gradient, with noise, in -2.1 .. 2.7."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    noise = np.random.default_rng(5).standard_normal((3, height, width)).astype(np.float32)
    planes = np.stack([x / width, y / height, 1 - x / width]) - 0.5 + 1.5 * disc(height, width) + 0.2 * noise
    return np.clip(planes, -2.1, 2.7).astype(np.float32)


def uneven_norms(state: dict) -> dict:
    """The state with batch statistics as unequal as a trained network's, a tenth of the scales negative.

    The scales follow the statistics, so that activations stay near one.
    """
    rng = np.random.default_rng(6)
    for name in [name for name in state if name.endswith("running_var")]:
        norm = name[: -len(".running_var")]
        channels = state[name].shape
        state[name] = (10 ** rng.uniform(-2, 1, channels)).astype(np.float32)
        state[f"{norm}.running_mean"] = rng.normal(0, 0.3, channels).astype(np.float32)
        sign = np.where(rng.random(channels) < 0.1, -1, 1)
        state[f"{norm}.weight"] = (state[f"{norm}.weight"] * sign * np.sqrt(state[name])).astype(np.float32)
    return state


def load(state: dict, num_classes: int = 1) -> LinkNet34:
    network = LinkNet34(num_classes)
    network.load_state_dict({name: flow.tensor(array) for name, array in state.items()})
    return network.eval()


def run(network: LinkNet34, batch: np.ndarray) -> np.ndarray:
    with flow.no_grad():
        return network(flow.tensor(batch)).numpy()


def test_parameters_and_entries(random_state: dict) -> None:
    network = LinkNet34()
    assert sum(parameter.numel() for parameter in network.parameters()) == 21_794_721
    state = network.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        name: array.shape for name, array in random_state.items()
    }
    assert len(state) == 306


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 64, 96), (1, 160, 64)])
def test_output_has_the_size_of_the_input(shape: tuple) -> None:
    batch, height, width = shape
    with flow.no_grad():
        logits = LinkNet34().eval()(flow.zeros(batch, 3, height, width))
    assert tuple(logits.shape) == (batch, 1, height, width)


@pytest.mark.parametrize("shape", [(1, 3, 64, 65), (1, 3, 48, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_other_shapes_are_refused(shape: tuple) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        LinkNet34()(flow.zeros(*shape))


def test_stages_of_the_encoder() -> None:
    with flow.no_grad():
        stages = ResNet34()(flow.zeros(1, 3, 64, 96))
    expected = [(1, 64, 16, 24), (1, 128, 8, 12), (1, 256, 4, 6), (1, 512, 2, 3)]
    assert [tuple(stage.shape) for stage in stages] == expected


def test_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes"):
        LinkNet34(0)


@pytest.mark.parametrize("statistics", ["even", "uneven"])
def test_forward_equals_numpy(random_state: dict, statistics: str) -> None:
    state = uneven_norms(random_state) if statistics == "uneven" else random_state
    images = np.stack([picture(32, 64), picture(32, 64)[:, ::-1, ::-1]])
    expected = np.stack([linknet34(image, state) for image in images])
    assert expected.std() > 0.1 and (expected > 0).any() and (expected < 0).any()
    np.testing.assert_allclose(run(load(state), images), expected, atol=1e-4, rtol=0)


def test_several_classes_are_log_probabilities(random_state: dict) -> None:
    rng = np.random.default_rng(7)
    random_state["finalconv3.weight"] = rng.normal(0, 0.1, (3, 32, 2, 2)).astype(np.float32)
    random_state["finalconv3.bias"] = np.array([0.1, -0.2, 0.3], np.float32)
    image = picture(64, 64)
    logits = linknet34(image, random_state)
    expected = logits - np.log(np.exp(logits).sum(0))
    found = run(load(random_state, num_classes=3), image[None])[0]
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(np.exp(found).sum(0), 1, atol=1e-5)


def test_gradients_reach_every_parameter(random_state: dict) -> None:
    # In evaluation mode: in training mode the batch norm takes away what the bias before it adds.
    network = load(random_state)
    network(flow.tensor(np.stack([picture(64, 64), picture(64, 64)[:, ::-1].copy()]))).pow(
        2
    ).mean().backward()
    for name, parameter in network.named_parameters():
        gradient = parameter.grad.numpy()
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-7, name


def test_a_few_steps_on_one_batch_drive_the_loss_down() -> None:
    flow.manual_seed(3)
    network = LinkNet34().train()
    image, mask = flow.tensor(picture(64, 64)[None]), flow.tensor(disc(64, 64)[None, None])
    optimizer = flow.optim.AdamW(network.parameters(), lr=3e-3)
    loss_function = flow.nn.BCEWithLogitsLoss()
    losses = []
    for _ in range(5):
        loss = loss_function(network(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.numpy().item())
    assert losses[-1] < 0.6 * losses[0]
