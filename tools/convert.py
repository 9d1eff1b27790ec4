"""Convert weights of any readable format to one safetensors file, or mix two networks' weights.

    python -m tools.convert --weights linknet_oneflow_model --output linknet34.safetensors [--half]
    # a fifth of one run's and four fifths of the next one's
    python -m tools.convert --weights b.safetensors --mix a.safetensors --share 0.2 --output ab.safetensors

runtimes/weights.py says which formats are readable. A directory written by OneFlow's `flow.save` holds a
pickle, which can run any code that its maker put there: it is read here alone, and only with --allow-pickle.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from runtimes.formats import WeightsError
from runtimes.weights import TORCH_SUFFIXES, normalise, read_weights, trained_size, write_weights
from utils import refuse_empty


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert weights to one safetensors file.")
    parser.add_argument("--weights", required=True, help="file or directory to read")
    parser.add_argument("--output", required=True, help="safetensors file to write")
    parser.add_argument("--mix", metavar="FILE", help="take the mean of --weights and of these")
    parser.add_argument("--share", type=float, default=0.5, help="of --mix in the mean, 0..1 (%(default)s)")
    parser.add_argument("--half", action="store_true", help="store as float16")
    parser.add_argument(
        "--allow-pickle", action="store_true", help="unpickle a flow.save directory that you trust"
    )
    args = parser.parse_args()
    refuse_empty(parser, args)
    if Path(args.output).suffix.lower() in TORCH_SUFFIXES:
        parser.error(f"--output {args.output}: it would be taken for PyTorch's; end it in .safetensors")
    if not 0 <= args.share <= 1:
        parser.error(f"--share {args.share}: it must be from 0 to 1")
    try:
        read = read_pickled if args.allow_pickle else read_weights
        state = read(args.weights)
        if args.mix:
            state = mix_weights(state, read(args.mix), args.share)
        for path in filter(None, (args.weights, args.mix)):
            if Path(args.output).exists() and Path(args.output).samefile(path):
                raise WeightsError(f"{args.output} is an input: choose another --output")
        write_weights(args.output, state, args.half, {"size": str(trained_size(args.weights))})
    except (ImportError, OSError, WeightsError) as error:
        sys.exit(f"convert: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"{args.output}: {len(state)} entries")


def read_pickled(path: str) -> dict[str, np.ndarray]:
    """Return the state dict of a directory written by `flow.save`, or of any other format."""
    pickled = next(Path(path).glob("**/pickled_data"), None)
    if pickled is None:
        return read_weights(path)
    from quiet import flow  # late: OneFlow is needed for this format alone

    try:
        content = flow.load(str(pickled.parent))
    except Exception as error:  # an unpickler may raise anything
        raise WeightsError(f"OneFlow cannot load {pickled.parent}: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a state dict")
    arrays = {name: value.numpy() for name, value in content.items() if isinstance(value, flow.Tensor)}
    return normalise(arrays, Path(path))


def mix_weights(state: dict, other: dict, share: float) -> dict:
    """Return the weighted mean of two networks' weights: `share` of `other`, the rest of `state`.

    Weights before and after a finetuning, so mixed, keep much of what each does better (Wortsman et al.,
    "Robust fine-tuning of zero-shot models", CVPR 2022). Raises WeightsError for different networks.
    """
    if {name: value.shape for name, value in state.items()} != {k: v.shape for k, v in other.items()}:
        raise WeightsError("the weights to be mixed are different networks'")
    return {
        name: (value + share * (other[name] - value)).astype(np.float32) if value.dtype.kind == "f" else value
        for name, value in state.items()
    }


if __name__ == "__main__":
    main()
