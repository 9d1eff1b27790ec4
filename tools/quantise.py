"""LinkNet34 in INT8: post-training quantisation by NNCF, kept only if the masks stay the same.

    python -m runtimes.export --weights weights/linknet34.safetensors --int8 --data DIR

Weights and activations become 8-bit integers (Jacob et al., "Quantization and Training of Neural Networks
for Efficient Integer-Arithmetic-Only Inference", CVPR 2018). Their ranges are measured on pictures of DIR's
train split; the masks are compared with those of f32 on its test split. NNCF is needed to make the INT8 form,
not to run it: `.venv/bin/pip install nncf==3.4.0`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from tqdm import tqdm

from dataset import open_dataset
from evaluate import find_logits, network_input
from runtimes.runtime import DIGEST_KEY, OpenVinoRuntime, import_openvino, weights_digest
from training.metrics import score_mask
from utils import atomic_path

MAX_IOU_CHANGE = 0.002  # of the mean IoU, 0..1


class QuantisationError(ValueError):
    """INT8 cannot be made, or finds other masks than f32."""


def export_int8(
    model: onnx.ModelProto, weights: Path, data: str | Path, output: Path, images: int, size: int
) -> None:
    """Quantises `model`, the ONNX form of the file `weights`; prints its IoU; writes output (.xml) and .bin.

    data: see dataset.open_dataset. images: how many pictures to calibrate with. size: longest side of the
    network's input in pixels. Raises QuantisationError, and then writes nothing, if NNCF is missing or the
    mean IoU on the test split moves by more than MAX_IOU_CHANGE.
    """
    if output.suffix != ".xml":
        raise QuantisationError(f"{output}: the INT8 form is an .xml file (and a .bin file beside it)")
    if output.with_suffix(".bin").exists() and output.with_suffix(".bin").samefile(weights):
        raise QuantisationError(
            f"{output.with_suffix('.bin')} is the weights' own file: choose another --output"
        )
    nncf = import_nncf()
    train, test = open_dataset(data, "train"), open_dataset(data, "test")
    chosen = np.linspace(0, len(train) - 1, min(images, len(train))).astype(int)
    core = import_openvino().Core()
    full = core.read_model(model.SerializeToString())
    calibration = nncf.Dataset(chosen, lambda index: network_input(train[index][0], size))
    small = nncf.quantize(full, calibration, preset=nncf.QuantizationPreset.MIXED, subset_size=len(chosen))

    before = mean_iou(OpenVinoRuntime(core, full, "f32"), test, size)
    after = mean_iou(OpenVinoRuntime(core, small, "int8"), test, size)
    points = 100 * (after - before)
    print(f"mean IoU on {len(test)} pictures: f32 {before:.4f}, INT8 {after:.4f} ({points:+.2f} points)")
    if abs(after - before) > MAX_IOU_CHANGE:
        raise QuantisationError(
            f"INT8 moves the mean IoU by more than {100 * MAX_IOU_CHANGE:.1f} points, so it is not written: "
            "calibrate with more pictures (--images), like those that it is to be used on"
        )
    small.set_rt_info(weights_digest(weights), DIGEST_KEY)
    write_model(small, output)


def import_nncf():
    import_openvino()  # first, as it keeps telemetry off
    try:
        import nncf
    except ImportError as error:
        raise QuantisationError(f"INT8 needs NNCF ({error}): .venv/bin/pip install nncf==3.4.0") from error
    return nncf


def mean_iou(runtime: OpenVinoRuntime, pairs, size: int) -> float:
    """Mean over the pictures of the IoU of face, 0..1, at the mask's own size; pixels of 128 do not count."""
    ious = []
    for index in tqdm(range(len(pairs)), desc=runtime.name, leave=False):
        image, mask = pairs[index]
        ious.append(score_mask(find_logits(runtime, image, size) > 0, mask).iou)
    return float(np.mean(ious))


def write_model(model, path: Path) -> None:
    """Writes path (.xml) and its .bin, each whole or not at all."""
    import openvino

    with atomic_path(path) as xml, atomic_path(path.with_suffix(".bin")):
        openvino.save_model(model, str(xml), compress_to_fp16=False)
