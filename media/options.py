"""The options of infer.py: `python infer.py --help` prints them.

args = parse_arguments(["--source", "clip.mp4", "--output", "out.mp4"])
"""

from __future__ import annotations

import argparse

from faces.segmenter import DETECT_EVERY
from media.views import STRENGTH, VIEWS, parse_color
from media.writers import PRESETS
from runtimes.choose import add_network_options
from runtimes.weights import trained_size
from utils import Parser, UserError, integer, real


def shard(text: str) -> tuple[int, int]:
    """Return the part meant by '2/8', and of how many."""
    part, slash, parts = text.partition("/")
    if not slash:
        raise UserError(f"{text!r} is no part such as 2/8")
    parts = integer(1)(parts)
    return integer(1, parts)(part), parts


def make_parser() -> Parser:
    parser = Parser(
        "Lay the face mask over a camera's picture, a video, a stream or photos.",
        epilog="In the window, h shows the keys.",
    )
    add = parser.add_argument
    add("--source", help="camera number, file, folder, 'pattern', address, sample (default: 0, else sample)")
    add("--recursive", action="store_true", help="folders in the folder too; their structure is kept")
    add("--output", help="video, or picture of a picture; folder for several, or for a cutout's frames")
    add("--skip-existing", action="store_true", help="leave out the files whose result is there already")
    add("--shard", type=shard, default=(1, 1), help="2/8: take the second of eight parts of the files")
    add("--table", metavar="FACES.CSV", help="write a row for each face and frame: time, track, box, colours")
    add("--keep-metadata", action="store_true", help="keep date, place and camera, which are left out else")
    views = f"{', '.join(VIEWS)}, fill-face:COLOUR, background:PICTURE or :COLOUR"
    add("--view", default="overlay", help=views)
    add("--strength", type=integer(1, 10), default=STRENGTH, help="of blur-face and mosaic-face (default: 5)")
    color = "of the overlay: name, #RRGGBB or R,G,B (default: %(default)s)"
    add("--color", type=parse_color, default="0,200,120", help=color)
    add("--alpha", type=real(0, 1), default=0.5, help="opacity of the overlay, 0 to 1 (default: %(default)s)")
    add("--threshold", type=real(0.05, 0.95), default=0.5, help="probability at a face's edge (default: 0.5)")
    add_network_options(parser)
    add(
        "--no-detector",
        "--no-find",
        dest="detect",
        action="store_false",
        help="give the network the whole frame, as one face",
    )
    finding = f"look for new faces in every so-many-th frame of a file (default: {DETECT_EVERY})"
    add("--find-every", dest="detect_every", metavar="N", type=integer(1), default=DETECT_EVERY, help=finding)
    add("--small-faces", action="store_true", help="look for faces in all parts of large pictures; slower")
    add("--no-flip", dest="flip", action="store_false", help="do not look at pictures in the mirror as well")
    add("--smooth", type=real(0, 0.99), default=0.7, help="smoothing over time, 0 is off (default: 0.7)")
    add("--no-window", dest="window", action="store_false", help="show nothing, only write")
    add("--virtual-camera", action="store_true", help="be a camera for video calls (needs pyvirtualcam)")
    add("--folder", default="output", help="for what the keys s and r write (default: %(default)s)")
    add("--crf", type=integer(0, 51), default=18, help="quality of videos, lower is better (default: 18)")
    add("--preset", choices=PRESETS, default="superfast", help="of H.264: slower ones make smaller files")
    add("--no-audio", dest="sound", action="store_false", help="leave out the video's sound")
    add("--reconnect", type=real(0, 86400), default=30, help="seconds to retry a broken stream (default: 30)")
    add("--max-frames", type=integer(1), help="end after so many frames or pictures")
    add(
        "--stride", type=integer(1), default=1, help="take every so-many-th frame only (default: %(default)s)"
    )
    add("--timing", action="store_true", help="at the end, print how long each stage took")
    return parser


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """All options, given or by default. Ends the process with a message if one cannot be."""
    args = make_parser().parse_args(argv)
    args.size_chosen = args.size is not None
    args.size = args.size or (256 if args.weights == "published" else trained_size(args.weights))
    return args
