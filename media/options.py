"""The options of infer.py: `python infer.py --help` prints them.

options = parse_arguments(["--source", "clip.mp4", "--output", "out.mp4"])
options = Options(source="clip.mp4", output="out.mp4")  # the same from Python
"""

from __future__ import annotations

import argparse
import copy

from faces.follow import DETECT_EVERY
from media.encoder import PRESETS
from media.shapes import Style, parse_length, parse_rectangle, parse_tracks
from media.views import VIEWS, parse_color
from runtimes.choose import add_network_options
from runtimes.weights import trained_size
from utils import Parser, UserError, integer, real


class Options(argparse.Namespace):
    """All that a user can ask of infer.py, by the names in `make_parser`: as given, else as by default."""

    def __init__(self, **given):
        super().__init__(**{**vars(make_parser().parse_args([])), **given})

    def but(self, **changed) -> Options:
        """Return the options with some of them changed."""
        options = copy.copy(self)
        vars(options).update(changed)
        return options

    @property
    def full_size(self) -> int:
        """The longest side of the network's input for photos; of videos it is a little less."""
        return self.size or (256 if self.weights == "published" else trained_size(self.weights))

    @property
    def style(self) -> Style:
        return Style(self.threshold, self.color, self.alpha, self.strength, self.grow, self.feather)


def parse_shard(text: str) -> tuple[int, int]:
    """Return the part meant by '2/8', and of how many."""
    part, slash, parts = text.partition("/")
    if not slash:
        raise UserError(f"{text!r} is no part such as 2/8")
    parts = integer(1)(parts)
    return integer(1, parts)(part), parts


def parse_size(text: str) -> tuple[int, int]:
    """Return the (width, height) meant by '1280x720'."""
    width, cross, height = text.lower().partition("x")
    if not cross:
        raise UserError(f"{text!r} is no size such as 1280x720")
    return integer(16, 16384)(width), integer(16, 16384)(height)


def page_address(text: str) -> tuple[str, int]:
    """Return the (address, port) meant by '0.0.0.0:7860' or '7861'."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", integer(1, 65535)(port)


def make_parser() -> Parser:
    parser = Parser("Mark or hide the faces of a camera's picture, a video, a stream or photos.")
    count = {"type": integer(1), "metavar": "N"}
    add = parser.add_argument_group("sources").add_argument
    sources = "camera number, file, folder, 'pattern', address, sample, - (default: 0, else sample)"
    add("--source", help=sources)
    add("--recursive", action="store_true", help="folders in the folder too; their structure is kept")
    shard = "2/8: only the second of eight parts of the files"
    add("--shard", type=parse_shard, default=(1, 1), metavar="K/N", help=shard)
    add("--stride", **count, default=1, help="only every nth frame (default: %(default)s)")
    add("--max-frames", **count, help="end after so many frames or pictures")
    add("--camera-size", type=parse_size, metavar="WxH", help="ask the camera for this size, as 1280x720")
    add("--camera-rate", type=real(1, 1000), metavar="N", help="ask the camera for so many frames/s")
    seconds = "try to reconnect a broken stream for so long (default: %(default)g)"
    add("--reconnect", type=real(0, 86400), default=30.0, metavar="SECONDS", help=seconds)

    add = parser.add_argument_group("results").add_argument
    outputs = "file; folder for several files, or a cut-out's frames; address; - (standard output)"
    add("--output", help=outputs)
    add("--skip-existing", action="store_true", help="skip the files whose result is there already")
    add("--table", metavar="FACES.CSV", help="write a row for each face and frame: time, track, box, colours")
    add("--keep-metadata", action="store_true", help="keep date, place and camera, removed by default")
    quality = "quality of videos, lower is better (default: %(default)s)"
    add("--crf", type=integer(0, 51), default=18, help=quality)
    preset = "of H.264: slower ones make smaller files (default: %(default)s)"
    add("--preset", choices=PRESETS, default="superfast", help=preset)
    add("--no-audio", dest="sound", action="store_false", help="without the video's sound")
    add("--virtual-camera", action="store_true", help="be a camera for video calls (needs pyvirtualcam)")
    add("--timing", action="store_true", help="at the end, print how long each stage took")

    add = parser.add_argument_group("views").add_argument
    views = f"{', '.join(VIEWS)}; fill-face:COLOUR, background:PICTURE or :COLOUR (default: %(default)s)"
    add("--view", default="overlay", help=views)
    add("--color", type=parse_color, help="of the overlay: name, #RRGGBB or R,G,B (default: 0,200,120)")
    add("--alpha", type=real(0, 1), help="opacity of the overlay, 0 to 1 (default: %(default)s)")
    strength = "1 to 10, of blur-face and mosaic-face (default: %(default)s)"
    add("--strength", type=integer(1, 10), help=strength)
    add("--threshold", type=real(0.05, 0.95), help="probability at a face's edge (default: %(default)s)")
    grow = "grow faces by pixels or 10%% of their size; --grow=-10%% shrinks (default: 10%% to hide, else 0)"
    add("--grow", type=parse_length, metavar="LENGTH", help=grow)
    add("--feather", type=parse_length, metavar="LENGTH", help="let the edges fade over so much (default: 0)")
    tracks = "leave alone the faces with these numbers, which --view numbers shows (and its --table lists)"
    add("--except-track", type=parse_tracks, default=(), metavar="N,N", help=tracks)
    rectangle = {"type": parse_rectangle, "metavar": "X,Y,W,H"}
    add("--only-in", **rectangle, help="only faces whose centre is in here, in pixels")
    add("--not-in", **rectangle, help="leave alone faces whose centre is in here")

    add = parser.add_argument_group("window").add_argument
    add("--no-window", dest="window", action="store_false", help="show nothing, only write")
    add("--mirror", action="store_true", help="show the window as a mirror; what is written is not changed")
    folder = "for what the keys s and r write; h shows all keys (default: %(default)s)"
    add("--folder", default="output", help=folder)

    add = parser.add_argument_group("page").add_argument
    page = "serve a page for browsers instead (default: %(const)s); others need a password in PAGE_PASSWORD"
    add("--page", nargs="?", const="127.0.0.1:7860", type=page_address, metavar="ADDRESS:PORT", help=page)
    add("--share", action="store_true", help="with --page: a public link too, through gradio's servers")

    group = parser.add_argument_group("detector and network")
    add_network_options(group)
    add = group.add_argument
    without = "give the network the whole frame, as one face"
    add("--no-detector", "--no-find", dest="detect", action="store_false", help=without)
    every = "run the detector on every nth frame of a file (default: %(default)s)"
    add("--find-every", **count, dest="detect_every", default=DETECT_EVERY, help=every)
    add("--small-faces", action="store_true", help="detect in all parts of large pictures too; slower")
    add("--no-flip", dest="flip", action="store_false", help="do not segment photos in the mirror as well")
    smooth = "smoothing over time, 0 is off (default: %(default)s)"
    add("--smooth", type=real(0, 0.99), default=0.7, help=smooth)
    parser.set_defaults(**vars(Style()))
    return parser


def parse_arguments(argv: list[str] | None = None) -> Options:
    """Return the options, given or by default. Ends the process with a message if one cannot be."""
    parser = make_parser()
    options = Options(**vars(parser.parse_args(argv)))
    if options.share and not options.page:
        parser.error("--share goes with --page")
    return options
