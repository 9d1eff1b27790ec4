"""Convert weights of any readable format to one safetensors file, or mix two networks' weights.

    python -m tools.convert --weights linknet_oneflow_model --output linknet34.safetensors [--half]
    # a fifth of one run's and four fifths of the next one's
    python -m tools.convert --weights b.safetensors --mix a.safetensors --share 0.2 --output ab.safetensors

runtimes/weights.py says which formats are readable. A directory written by OneFlow's `flow.save` holds a
pickle, which can run any code that its maker put there: it is read here alone, and only with --allow-pickle.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from files.paths import refuse_inputs
from runtimes.weights import normalise, read_weights, trained_size, weights_files, write_weights
from utils import Parser, UserError, import_oneflow, real, run


def make_parser() -> Parser:
    parser = Parser("Convert weights to one safetensors file.")
    add = parser.add_argument
    add("--weights", required=True, help="file or directory to read")
    add("--output", required=True, help="safetensors file to write")
    add("--mix", metavar="FILE", help="take the mean of --weights and of these")
    add("--share", type=real(0, 1), help="of --mix in the mean, 0..1 (default: 0.5)")
    add("--half", action="store_true", help="store as float16")
    add("--allow-pickle", action="store_true", help="unpickle a flow.save directory that you trust")
    return parser


def main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    if Path(args.output).suffix.lower() != ".safetensors":
        parser.error(f"--output {args.output}: it must end in .safetensors")
    if args.share is not None and not args.mix:
        parser.error("--share goes with --mix")
    refuse_inputs([args.output], [*weights_files(args.weights), *weights_files(args.mix or args.weights)])
    read = read_pickled if args.allow_pickle else read_weights
    state = read(args.weights)
    if args.mix:
        state = mix_weights(state, read(args.mix), 0.5 if args.share is None else args.share)
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


def mix_weights(state: dict, other: dict, share: float) -> dict:
    """Return the weighted mean of two networks' weights: `share` of `other`, the rest of `state`.

    Weights before and after a finetuning, so mixed, keep much of what each does better (Wortsman et al.,
    "Robust fine-tuning of zero-shot models", CVPR 2022). Raises UserError for different networks.
    """
    if {name: value.shape for name, value in state.items()} != {k: v.shape for k, v in other.items()}:
        raise UserError("the weights to be mixed are different networks'")
    return {
        name: (value + share * (other[name] - value)).astype(np.float32) if value.dtype.kind == "f" else value
        for name, value in state.items()
    }


if __name__ == "__main__":
    run(main)
