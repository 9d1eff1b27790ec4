"""The animated picture of the README: the portrait in motion, with the mask that the network finds.

python -m tools.make_demo --output docs/demo.webp
"""

from __future__ import annotations

from pathlib import Path

import cv2
from PIL import Image

from faces.finder import Finder
from faces.segmenter import Segmenter, Settings
from files.paths import atomic_path, refuse_inputs
from media.sample import FRAMES, PORTRAIT, RATE, Sample
from media.views import parse_view
from runtimes.choose import DEVICES, open_runtime
from runtimes.weights import default_weights, trained_size, weights_files
from utils import Parser, run

EVERY = 4  # of the sample's frames
WIDTH = 400


def make_parser() -> Parser:
    parser = Parser("Write the README's animated picture.")
    parser.add_argument("--weights", default=default_weights())
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--output", default="docs/demo.webp", help="an animated .webp or .gif")
    return parser


def main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    if Path(args.output).suffix.lower() not in (".webp", ".gif"):
        parser.error(f"--output {args.output}: it must end in .webp or .gif")
    refuse_inputs([args.output], [PORTRAIT, *weights_files(args.weights)])
    pictures = draw(args.weights, args.device)
    with atomic_path(args.output) as temporary:
        pictures[0].save(
            temporary,
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 * EVERY / RATE),
            loop=0,
            quality=50,
        )


def draw(weights: str, device: str) -> list:
    """Every fourth frame of the sample, as PIL pictures."""
    settings = Settings(trained_size(weights))
    segmenter = Segmenter(open_runtime(weights, device=device), Finder(), settings, smooth=0.7)
    view = parse_view("overlay")
    sample, pictures = Sample(), []
    for index in range(FRAMES):
        frame = sample.read().image  # HWC uint8 BGR
        mask = segmenter(frame)
        if index % EVERY == 0:
            shown = cv2.cvtColor(view(frame, mask, 0.5), cv2.COLOR_BGR2RGB)
            height = WIDTH * shown.shape[0] // shown.shape[1]
            pictures.append(Image.fromarray(cv2.resize(shown, (WIDTH, height), interpolation=cv2.INTER_AREA)))
    return pictures


if __name__ == "__main__":
    run(main)
