"""The published results, and the way in which they were measured.

    from training.published import published_iou
    iou = published_iou("weights/linknet34.safetensors", pairs, indices, size=256, device="auto")

The published program (FaceSeg in OneFlow's model zoo) evaluated a network that was left in training mode:
batch norm used the statistics of each batch of 16 instead of those learned in training, so what it found in
an image depended on the 15 beside it. This repeats that for comparison; evaluate.py's own figures do not.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np
from tqdm import tqdm

from dataset import DataError
from runtimes.entries import check_linknet34
from runtimes.runtime import cuda_available
from runtimes.weights import read_weights
from training.examples import PlainExamples
from utils import FACE, NOT_JUDGED

BATCH = 16
RESULTS = {  # mean IoU in percent as (train, test), measured by their authors on their own data
    "published, OneFlow (on their own data)": (95.006, 94.425),
    "published, PyTorch (on their own data)": (92.815, 92.689),
}


def published_iou(weights: str, pairs, indices: Sequence[int], size: int, device: str) -> float:
    """The mean over whole batches of the mean IoU of a batch's images, 0..1; logits above 0 are face.

    Images are resized to (size, size), as the published ones were. Images of a last, incomplete batch are
    left out, as there. Pixels of 128, which the published data does not have, are not counted.
    device: "auto", "cpu" or "cuda". Raises DataError if the images do not fill one batch, ImportError without
    OneFlow.
    """
    from linknet import LinkNet34
    from runtimes.quiet import flow

    examples = PlainExamples(pairs, np.asarray(indices), size)
    batches = len(examples) // BATCH
    if batches == 0:
        raise DataError(f"the published protocol takes batches of {BATCH} images; here are {len(examples)}")
    if device == "auto":
        device = "cuda" if cuda_available() else "cpu"
    state = read_weights(weights)
    check_linknet34(state)
    network = LinkNet34()
    network.load_state_dict({name: flow.tensor(array) for name, array in state.items()})
    network.to(device).train()
    means = []
    for batch in tqdm(range(batches), desc="published protocol", unit="batch"):
        images, masks = zip(*(examples[batch * BATCH + place] for place in range(BATCH)))
        with flow.no_grad():
            logits = network(flow.tensor(np.stack(images)).to(device)).numpy()
        means.append(batch_iou(logits > 0, np.stack(masks)))
    return float(np.mean(means))


def batch_iou(found: np.ndarray, masks: np.ndarray) -> float:
    """The mean IoU of a batch's images: (N, 1, H, W), bool and uint8."""
    face = masks == FACE
    found = found & (masks != NOT_JUDGED)
    intersection = (found & face).sum(axis=(1, 2, 3))
    union = (found | face).sum(axis=(1, 2, 3))
    return float(np.mean(intersection / (union + 1e-6)))


def print_published(train: float, test: float) -> None:
    """Print the mean IoU of our own evaluation, in percent, beside the published results."""
    print(f"\n{'mean IoU':<40} {'train':>8} {'test':>8}")
    for name, results in {"these weights on this data": (train, test), **RESULTS}.items():
        print(f"{name:<40} {results[0]:8.3f} {results[1]:8.3f}")
