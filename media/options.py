"""The options of infer.py: `python infer.py --help` prints them.

options = parse_arguments(["--source", "clip.mp4", "--output", "out.mp4"])
options = Options(source="clip.mp4", output="out.mp4")  # the same from Python
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from faces.mask import Region
from faces.video import DETECT_EVERY
from media.encoder import PRESETS
from media.shapes import Length, Selection, Style, parse_length, parse_rectangle, parse_tracks
from media.views import VIEWS, parse_color
from runtimes.choose import add_network_options
from runtimes.weights import default_weights, trained_size
from utils import Parser, UserError, integer, real


@dataclass
class Options:
    """All that a user can ask of infer.py, by the names of the options."""

    source: str | None = None  # None is the first camera, else the sample
    recursive: bool = False
    output: str | None = None
    skip_existing: bool = False
    shard: tuple[int, int] = (1, 1)
    table: str | None = None
    keep_metadata: bool = False
    view: str = "overlay"
    strength: int = Style.strength
    color: tuple[int, int, int] = Style.color
    alpha: float = Style.alpha
    threshold: float = Style.threshold
    grow: Length | None = None
    feather: Length = Style.feather
    except_track: tuple[int, ...] = ()
    only_in: Region | None = None
    not_in: Region | None = None
    weights: str = field(default_factory=default_weights)
    size: int | None = None  # None is that of the weights, in videos a little less
    runtime: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    detect: bool = True
    detect_every: int = DETECT_EVERY
    small_faces: bool = False
    flip: bool = True
    smooth: float = 0.7
    window: bool = True
    mirror: bool = False
    virtual_camera: bool = False
    folder: str = "output"
    crf: int = 18
    preset: str = "superfast"
    sound: bool = True
    camera_size: tuple[int, int] | None = None  # (width, height); None is what the camera chooses
    camera_rate: float | None = None
    reconnect: float = 30.0
    max_frames: int | None = None
    stride: int = 1
    timing: bool = False
    page: tuple[str, int] | None = None  # address and port
    share: bool = False

    @property
    def full_size(self) -> int:
        """The longest side of the network's input for photos."""
        return self.size or (256 if self.weights == "published" else trained_size(self.weights))

    @property
    def style(self) -> Style:
        return Style(self.threshold, self.color, self.alpha, self.strength, self.grow, self.feather)

    @property
    def selection(self) -> Selection:
        return Selection(self.except_track, self.only_in, self.not_in)


def shard(text: str) -> tuple[int, int]:
    """Return the part meant by '2/8', and of how many."""
    part, slash, parts = text.partition("/")
    if not slash:
        raise UserError(f"{text!r} is no part such as 2/8")
    parts = integer(1)(parts)
    return integer(1, parts)(part), parts


def camera_size(text: str) -> tuple[int, int]:
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
    add = parser.add_argument_group("sources").add_argument
    add(
        "--source",
        help="camera number, file, folder, 'pattern', address, sample, - (default: 0, else sample)",
    )
    add("--recursive", action="store_true", help="folders in the folder too; their structure is kept")
    add("--shard", type=shard, metavar="K/N", help="2/8: only the second of eight parts of the files")
    add("--stride", type=integer(1), metavar="N", help="only every nth frame (default: %(default)s)")
    add("--max-frames", type=integer(1), metavar="N", help="end after so many frames or pictures")
    add("--camera-size", type=camera_size, metavar="WxH", help="ask the camera for this size, as 1280x720")
    add("--camera-rate", type=real(1, 1000), metavar="N", help="ask the camera for so many frames/s")
    seconds = "try to reconnect a broken stream for so long (default: %(default)g)"
    add("--reconnect", type=real(0, 86400), metavar="SECONDS", help=seconds)

    add = parser.add_argument_group("results").add_argument
    add(
        "--output", help="file; folder for several files, or a cut-out's frames; address; - (standard output)"
    )
    add("--skip-existing", action="store_true", help="skip the files whose result is there already")
    add("--table", metavar="FACES.CSV", help="write a row for each face and frame: time, track, box, colours")
    add("--keep-metadata", action="store_true", help="keep date, place and camera, removed by default")
    add("--crf", type=integer(0, 51), help="quality of videos, lower is better (default: %(default)s)")
    add("--preset", choices=PRESETS, help="of H.264: slower ones make smaller files (default: %(default)s)")
    add("--no-audio", dest="sound", action="store_false", help="without the video's sound")
    add("--virtual-camera", action="store_true", help="be a camera for video calls (needs pyvirtualcam)")
    add("--timing", action="store_true", help="at the end, print how long each stage took")

    add = parser.add_argument_group("views").add_argument
    views = f"{', '.join(VIEWS)}; fill-face:COLOUR, background:PICTURE or :COLOUR (default: %(default)s)"
    add("--view", help=views)
    add("--color", type=parse_color, help="of the overlay: name, #RRGGBB or R,G,B (default: 0,200,120)")
    add("--alpha", type=real(0, 1), help="opacity of the overlay, 0 to 1 (default: %(default)s)")
    add(
        "--strength", type=integer(1, 10), help="1 to 10, of blur-face and mosaic-face (default: %(default)s)"
    )
    add("--threshold", type=real(0.05, 0.95), help="probability at a face's edge (default: %(default)s)")
    grow = "grow faces by pixels or 10%% of their size; --grow=-10%% shrinks (default: 10%% to hide, else 0)"
    add("--grow", type=parse_length, metavar="LENGTH", help=grow)
    add("--feather", type=parse_length, metavar="LENGTH", help="let the edges fade over so much (default: 0)")
    tracks = "leave alone the faces with these numbers, which --view numbers shows and --table lists"
    add("--except-track", type=parse_tracks, metavar="N,N", help=tracks)
    inside, outside = (
        "only faces whose centre is in here, in pixels",
        "leave alone faces whose centre is in here",
    )
    add("--only-in", type=parse_rectangle, metavar="X,Y,W,H", help=inside)
    add("--not-in", type=parse_rectangle, metavar="X,Y,W,H", help=outside)

    add = parser.add_argument_group("window").add_argument
    add("--no-window", dest="window", action="store_false", help="show nothing, only write")
    add("--mirror", action="store_true", help="show the window as a mirror; what is written is not changed")
    add("--folder", help="for what the keys s and r write; h shows all keys (default: %(default)s)")

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
    add("--find-every", dest="detect_every", metavar="N", type=integer(1), help=every)
    add("--small-faces", action="store_true", help="detect in all parts of large pictures too; slower")
    add("--no-flip", dest="flip", action="store_false", help="do not segment photos in the mirror as well")
    add("--smooth", type=real(0, 0.99), help="smoothing over time, 0 is off (default: %(default)s)")
    parser.set_defaults(**dataclasses.asdict(Options()))
    return parser


def parse_arguments(argv: list[str] | None = None) -> Options:
    """Return the options, given or by default. Ends the process with a message if one cannot be."""
    return Options(**vars(make_parser().parse_args(argv)))
