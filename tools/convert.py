"""Convert weights of any format that runtimes/weights.py reads to one safetensors file.

    python -m tools.convert --weights linknet_oneflow_model --output linknet34.safetensors [--half]

What OneFlow's `flow.save` writes holds a pickle, which can run any code that its maker put there: only this
program reads it, and only with --allow-pickle.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from files.paths import refuse_inputs
from runtimes.weights import normalise, read_weights, trained_size, weights_files, write_weights
from utils import Parser, UserError, import_oneflow, run


def make_parser() -> Parser:
    parser = Parser("Convert weights to one safetensors file.")
    add = parser.add_argument
    add("--weights", required=True, help="file or directory to read")
    add("--output", required=True, help="safetensors file to write")
    add("--half", action="store_true", help="store as float16")
    add("--allow-pickle", action="store_true", help="unpickle a flow.save directory that you trust")
    return parser


def main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    if Path(args.output).suffix.lower() != ".safetensors":
        parser.error(f"--output {args.output}: it must end in .safetensors")
    refuse_inputs([args.output], weights_files(args.weights))
    state = read_pickled(args.weights) if args.allow_pickle else read_weights(args.weights)
    write_weights(args.output, state, args.half, {"size": str(trained_size(args.weights))})
    print(f"{args.output}: {len(state)} entries")


def read_pickled(path: str) -> dict[str, np.ndarray]:
    """Return the state dict of a directory written by `flow.save`, or of any other format."""
    pickled = next(Path(path).glob("**/pickled_data"), None)
    if pickled is None:
        return read_weights(path)
    flow = import_oneflow()
    try:
        content = flow.load(str(pickled.parent))
    except Exception as error:  # an unpickler may raise anything
        raise UserError(f"OneFlow cannot load {pickled.parent}: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a state dict")
    arrays = {name: value.numpy() for name, value in content.items() if isinstance(value, flow.Tensor)}
    return normalise(arrays, Path(path))


if __name__ == "__main__":
    run(main)
