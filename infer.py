"""Lay the face mask over a camera's picture, a video, a stream or photos.

    python infer.py                                          # the first camera, in a window (h: help)
    python infer.py --source clip.mp4 --output out.mp4       # a video
    python infer.py --source photos/ --output masked/        # a folder; also one picture, or "photos/*.jpg"
    python infer.py --source rtsp://HOST/PATH --view blur-face

    from infer import faces, segment                         # from Python
    probability = segment(image)                             # HWC uint8 RGB -> HxW float32, 0..1
    found = faces(image)                                     # for each its box, confidence and mask

Exit status: 0 if all was done, 1 if something went wrong, 130 after Ctrl-C (what was recorded is kept).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))  # before a utils.py of who imports this

from faces.finder import Finder
from faces.mask import Face, Mask
from faces.segmenter import Segmenter, Settings, segment_picture
from faces.timing import Timing
from files.paths import refuse_inputs
from files.pictures import ANIMATED_SUFFIXES
from media.animations import Animation, AnimationWriter, PictureFolder
from media.jobs import ANIMATION, PICTURE, Tally, find_jobs, is_files, name_outputs
from media.mux import beside
from media.options import parse_arguments
from media.photos import Pictures
from media.pipeline import Pipeline
from media.play import play_all
from media.player import Player, Stream
from media.sample import Sample
from media.sources import open_video
from media.streams import fetched, is_picture_address
from media.table import FaceTable
from media.videos import open_file
from media.views import VIEWS, hides, parse_color, parse_view
from media.window import Window, has_display
from media.writers import VideoWriter, VirtualCamera
from runtimes.choose import open_runtime, video_size, with_flip
from runtimes.weights import default_weights, runtime_files, trained_size
from utils import UserError, run


def segment(image: np.ndarray, **options) -> np.ndarray:
    """Return the probability of face for each pixel of one image: HxW float32, 0..1, in steps of 1/255.

    image: HxWx3 uint8 **RGB**. The options, and what is raised, are those of `find_mask`.
    """
    return find_mask(image, **options).probability / np.float32(255)


def faces(image: np.ndarray, **options) -> list[Face]:
    """Return the faces of one image, HxWx3 uint8 **RGB**, the surest first.

    Each has its `box` and the `region` of its mask, (left, top, right, bottom) in pixels of the image, right
    and bottom outside; its `confidence`, 0..1, 0 for a close-up that only the network knows as a face; and
    its `mask`, the probability, hxw uint8 of the region, 0..255: empty where the finder sees
    a face, and the network none. The options, and what is raised, are those of `find_mask`.
    """
    return list(find_mask(image, **options).faces)


def find_mask(
    image: np.ndarray,
    weights: str = default_weights(),
    size: int | None = None,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    find: bool = True,
    small_faces: bool = False,
    flip: bool = True,
) -> Mask:
    """Return the mask of one image, HxWx3 uint8 **RGB**, with its faces (see faces/mask.py).

    size: the longest side of the network's input, a multiple of 32; where it is not given, the one that the
    weights were trained at. find: with False the network is given the whole image, as one face that fills it.
    small_faces: look at all parts of an image of more than 1,280 pixels for faces. flip: look at the faces
    in the mirror as well, and take the mean: a little better, in twice the time. The network is loaded at the
    first call and kept; it is not for several threads at once. Raises ValueError for another kind of array,
    and what `open_runtime` raises.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"an image must be HxWx3 uint8 RGB; this one is {image.shape} {image.dtype}")
    network = kept_runtime(weights, runtime, device, precision)
    if flip:
        network = with_flip(network)
    finder = kept_finder(small_faces) if find else None
    picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return segment_picture(network, finder, picture, size or trained_size(weights))


@functools.lru_cache(maxsize=2)
def kept_runtime(weights: str, runtime: str, device: str, precision: str):
    return open_runtime(weights, runtime, device, precision)


@functools.lru_cache(maxsize=2)
def kept_finder(small_faces: bool) -> Finder:
    return Finder(photo=True, small_faces=small_faces)


def main() -> int:
    args = parse_arguments()
    # As Ctrl-C: what is being recorded is kept. A terminal that closes sends SIGHUP, unless under nohup.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    cv2.setLogLevel(0)  # our messages say better what it would remark
    names = [args.view, *(name for name in VIEWS if name != args.view)]
    views = [(name, parse_view(name, parse_color(args.color), args.alpha, args.strength)) for name in names]
    with contextlib.ExitStack() as stack:
        if args.source is not None and is_picture_address(args.source):
            args.source = stack.enter_context(fetched(args.source))
        run_all = run_files if is_files(args.source) else run_live
        return run_all(args, views)


def run_live(args: argparse.Namespace, views: list) -> int:
    """A camera, a stream or the sample. Returns the exit status."""
    window = open_window(args)
    output = live_output(args) if args.output else None
    with contextlib.ExitStack() as stack:
        if window is not None:
            stack.callback(window.close)
        table = stack.enter_context(FaceTable(args.table)) if args.table else None
        source = open_source(args, endless=output is None and bool(window or args.virtual_camera))
        stack.callback(source.close)
        network = open_network(args)
        return run_video(args, views, source, output, network, Timing(), window, table)[0]


def run_video(
    args: argparse.Namespace, views: list, source, output: Path | None, network, timing: Timing, window, table
) -> tuple[int, bool]:
    """Everything that a source gives. Returns the exit status, and whether there was a face."""
    # To hide faces the size is the full one, as of a smaller one more are missed.
    keep = args.size_chosen or hides(args.view)
    size = args.size if keep else video_size(network, args.size, source.live)
    sinks = [open_writer(output, source, args)] if output else []
    sinks += [VirtualCamera(source.rate)] if args.virtual_camera else []
    print(f"{source.name}, {source.rate:.4g} frames/s; {network.name}", file=sys.stderr)
    finder = Finder(small_faces=args.small_faces) if args.find else None
    settings = Settings(size, args.find_every)
    rate = None if source.live else source.rate
    segmenter = Segmenter(network, finder, settings, args.smooth, rate, timing)
    stream = Stream(source.name, source.rate, source.live)

    def look_for(view: str) -> None:
        # To hide faces, each frame is looked at for those that come in, and at the full size.
        segmenter.settings = Settings(args.size, find_every=1) if hides(view) else settings

    player = Player(views, args.threshold, stream, sinks, window, args.folder, timing, look_for, table)
    start = time.perf_counter()
    status = play_all(Pipeline(source, segmenter, timing), player, args.max_frames, progress=window is None)
    print_summary(player.count, "frames", time.perf_counter() - start, timing if args.timing else None)
    if getattr(source, "damaged", 0):
        text = f"{source.name}: {source.damaged} frames were damaged; the last good one stands for each"
        print(text, file=sys.stderr)
    if output and player.count:
        print(f"wrote {sinks[0].result}", file=sys.stderr)
    return status, player.found


def open_writer(output: Path, source, args: argparse.Namespace):
    """What writes the pictures of a source: a video, an animation, or numbered files in a folder."""
    if isinstance(source, Animation) and output.suffix.lower() in ANIMATED_SUFFIXES:
        return AnimationWriter(output)
    if args.view == "cutout" and (not output.suffix or output.is_dir()):
        return PictureFolder(output)
    sound = source.sound if args.sound else None
    metadata = getattr(source, "metadata", {}) if args.keep_metadata else {}
    return VideoWriter(
        output, source.rate, source.colors, sound, args.view == "cutout", args.crf, args.preset, metadata
    )


def run_files(args: argparse.Namespace, views: list) -> int:
    """Pictures and videos one by one; a broken one does not hold up the rest. Returns the exit status."""
    jobs, left_out = find_jobs(args.source, args.recursive, Path(args.output) if args.output else None)
    alone = len(jobs) == 1 and jobs[0].source == Path(args.source)
    if args.virtual_camera and jobs[0].kind == PICTURE:
        raise UserError("--virtual-camera needs a video or a camera as the source, not pictures")
    if args.output:
        jobs = name_outputs(jobs, args.source, args.output, args.view, [*also_read(args), args.table])
    unfinished = [beside(job.output) for job in jobs if job.output and job.kind != PICTURE]
    refuse_inputs([args.table, *unfinished], [*(job.source for job in jobs), *also_read(args)])
    part, parts = args.shard
    jobs = jobs[part - 1 :: parts]
    if all(job.kind == PICTURE for job in jobs):
        jobs = jobs[:: args.stride][: args.max_frames]
    todo = [job for job in jobs if not (args.skip_existing and job.output and job.output.exists())]
    window = open_window(args) if not args.output or (alone and jobs[0].kind != PICTURE) else None
    network = open_network(args)
    tally = Tally(len(jobs) - len(todo), left_out)
    timing, start = Timing(), time.perf_counter()
    with contextlib.ExitStack() as stack:
        if window is not None:
            stack.callback(window.close)
        table = stack.enter_context(FaceTable(args.table)) if args.table else None
        pictures = Pictures(args, views, network, timing, window, table)
        for job in tqdm(todo, unit=" files", disable=None if args.output and not alone else True):
            try:
                if job.kind == PICTURE:
                    status, found = pictures.run(job)
                else:
                    is_animation = job.kind == ANIMATION
                    source = (Animation if is_animation else open_file)(job.source, args.stride)
                    stack.callback(source.close)
                    status, found = run_video(args, views, source, job.output, network, timing, window, table)
            except UserError as error:
                if alone:
                    raise
                tqdm.write(f"infer.py: {error}", file=sys.stderr)
                status, found = 1, True
            tally.add(job, status, found)
            if pictures.ended or status == 130:
                break
    if pictures.count:
        print_summary(
            pictures.count, "pictures", time.perf_counter() - start, timing if args.timing else None
        )
    return tally.finish(args.view, alone)


def open_window(args: argparse.Namespace) -> Window | None:
    """None if there is to be none, or if there is no display. Raises UserError if nothing would happen."""
    shown = args.window and has_display()
    if args.window and not shown:
        print("infer.py: there is no display, so no window opens", file=sys.stderr)
    if not (shown or args.output or args.virtual_camera or args.timing or args.table):
        raise UserError("nothing would come out of this: give an --output")
    if not shown:
        return None
    window = Window("LinkNet34")
    window.open()
    return window


def live_output(args: argparse.Namespace) -> Path:
    """The file that is written. Raises UserError if it is an input."""
    output = Path(args.output)
    if output.is_dir():
        output = output / "camera.mp4"
    refuse_inputs([output, beside(output), args.table], also_read(args))
    return output


def also_read(args: argparse.Namespace) -> list[Path]:
    """Return what is read beside the source: the weights, and the picture behind the face."""
    kind, _, what = args.view.partition(":")
    return [*runtime_files(args.weights), *([Path(what)] if kind == "background" else [])]


def open_source(args: argparse.Namespace, endless: bool):
    """The camera, stream, video or sample asked for. endless: the sample goes on until the user ends it."""
    endless = endless or args.max_frames is not None
    if args.source == "sample":
        return Sample(endless, args.stride)
    try:
        return open_video(args.source or "0", args.stride, args.reconnect)
    except UserError as error:
        if args.source is not None:
            raise
        print(f"infer.py: {error}: taking the sample instead (--source chooses another)", file=sys.stderr)
        return Sample(endless, args.stride)


def open_network(args: argparse.Namespace):
    weights = args.weights
    if weights == "published":
        from runtimes.download import fetch_published

        weights = fetch_published("linknet")
    return open_runtime(weights, args.runtime, args.device, args.precision)


def print_summary(count: int, what: str, seconds: float, timing: Timing | None) -> None:
    print(f"{count} {what} in {seconds:.1f} s, {count / max(seconds, 1e-6):.1f} {what}/s")
    if timing is not None:
        print(timing.table())


if __name__ == "__main__":
    run(main)
