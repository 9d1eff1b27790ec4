"""Export LinkNet34: to ONNX, and to the INT8 form that runs fastest on a CPU.

    python -m tools.export --output linknet34.onnx
    python -m tools.export --int8 --data DIR  # makes weights/linknet34-int8.xml and .bin

runtimes/onnx_graph.py says what goes into the graph and what comes out. OneFlow is needed neither to make it
nor to run it.

In INT8, weights and activations are 8-bit integers (Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018). NNCF measures their ranges on pictures
of DIR's train split; the form is written only if the masks of the test split stay the same. Making it needs
`.venv/bin/python -m pip install nncf==3.4.0`, running it does not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset import open_dataset
from faces.metrics import score_mask
from files.paths import atomic_path, refuse_inputs
from runtimes.onnx_graph import build_onnx
from runtimes.openvino_runtime import OpenVinoRuntime, int8_path, read_onnx, write_int8
from runtimes.runtime import image_logits
from runtimes.weights import default_weights, read_weights, trained_size, weights_files
from utils import Parser, UserError, fit_size, integer, preprocess, run, side

MAX_IOU_CHANGE = 0.002  # of the mean IoU, 0..1


def make_parser() -> Parser:
    parser = Parser("Export LinkNet34 to ONNX, or quantise it to INT8.")
    add = parser.add_argument
    add("--weights", type=Path, default=default_weights(), help="default: %(default)s")
    add("--output", type=Path, help="the .onnx file, or the .xml file of INT8 (default: beside the weights)")
    add("--int8", action="store_true", help="make OpenVINO's INT8 form instead (needs nncf)")
    add("--data", help="INT8: folder with train/ and test/, images/ and masks/ in each")
    add("--images", type=integer(1), default=300, help="INT8: pictures to calibrate with (%(default)s)")
    add("--size", type=side, help="INT8: longest side of the network's input (as the weights were trained)")
    return parser


def main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    if args.int8 != bool(args.data):
        parser.error("--int8 needs --data DIR, and goes with it: pictures of faces that it is judged on")
    usual = int8_path(args.weights) if args.int8 else args.weights.with_suffix(".onnx")
    args.output = args.output or usual
    suffix = args.output.suffix if args.int8 else args.output.suffix.lower()  # OpenVINO takes no .XML
    if suffix != usual.suffix:
        parser.error(f"--output {args.output}: the file's name must end in {usual.suffix}")
    args.size = args.size or trained_size(args.weights)
    binary = args.output.with_suffix(".bin") if args.int8 else None
    refuse_inputs([args.output, binary], weights_files(args.weights))
    model = build_onnx(read_weights(args.weights))
    if args.int8:
        export_int8(model, args)
    else:
        with atomic_path(args.output) as temporary:
            temporary.write_bytes(model.SerializeToString())
    print(f"wrote {args.output}")


def export_int8(model, args: argparse.Namespace) -> None:
    """Quantise the ONNX `model` of --weights, print its IoU, and write --output (.xml) and .bin.

    Raises UserError, and then writes nothing, if NNCF is missing or the mean IoU on the test split
    moves by more than MAX_IOU_CHANGE.
    """
    train, test = open_dataset(args.data, "train"), open_dataset(args.data, "test")
    refuse_inputs([args.output, args.output.with_suffix(".bin")], [*train.files, *test.files])
    sys.modules.setdefault("openvino_telemetry", None)  # NNCF would report its use to a server
    try:
        import nncf
    except ImportError as error:
        raise UserError(f"INT8 needs NNCF ({error}): .venv/bin/python -m pip install nncf==3.4.0") from error
    chosen = np.linspace(0, len(train) - 1, min(args.images, len(train))).astype(int)

    def network_input(index: int) -> np.ndarray:
        image = train[index][0]
        return preprocess(image, fit_size(*image.shape[:2], args.size))[None]

    full = read_onnx(model)
    pictures, mixed = nncf.Dataset(chosen, network_input), nncf.QuantizationPreset.MIXED
    small = nncf.quantize(full, pictures, preset=mixed, subset_size=len(chosen))
    before = mean_iou(OpenVinoRuntime(full, "f32"), test, args.size)
    after = mean_iou(OpenVinoRuntime(small, "int8"), test, args.size)
    points = 100 * (after - before)
    print(f"mean IoU on {len(test)} pictures: f32 {before:.4f}, INT8 {after:.4f} ({points:+.2f} points)")
    if abs(after - before) > MAX_IOU_CHANGE:
        raise UserError(
            f"INT8 moves the mean IoU by more than {100 * MAX_IOU_CHANGE:.1f} points, so it is not written: "
            "calibrate with more pictures (--images), like those that it is to be used on"
        )
    write_int8(small, args.output, args.weights)


def mean_iou(runtime: OpenVinoRuntime, pairs, size: int) -> float:
    """Return the mean IoU of face over the pictures, 0..1, at the mask's own size; 128 does not count."""
    each = (pairs[index] for index in tqdm(range(len(pairs)), desc=runtime.name, leave=False))
    ious = [score_mask(image_logits(runtime, image, size) > 0, mask).iou for image, mask in each]
    return float(np.mean(ious))


if __name__ == "__main__":
    run(main)
