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
import os
import signal
import sys
import time
from pathlib import Path
from typing import Iterator

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))  # before a utils.py of who imports this

from faces.finder import Finder
from faces.mask import Face, Mask
from faces.segmenter import Segmenter, Settings, segment_picture
from faces.timing import Timing
from media.frames import Frame
from media.mux import beside
from media.options import parse_arguments
from media.pictures import is_pictures, name_outputs
from media.pipeline import Pipeline, Result
from media.player import Player, Stream
from media.sample import Sample
from media.sources import open_video
from media.views import VIEWS, parse_color, parse_view, write_picture
from media.window import Window, has_display
from media.writers import VideoWriter, VirtualCamera
from runtimes.choose import live_size, open_runtime, with_flip
from runtimes.weights import default_weights, runtime_files, trained_size
from utils import UserError, find_pictures, read_image, refuse_inputs, run

SINGLE = Stream("picture", rate=1.0, live=False)


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
    silence_opencv()
    names = [args.view, *(name for name in VIEWS if name != args.view)]
    views = [(name, parse_view(name, parse_color(args.color), args.alpha)) for name in names]
    if args.source is not None and is_pictures(args.source):
        return run_pictures(args, views)
    return run_video(args, views)


def silence_opencv() -> None:
    """OpenCV and FFmpeg print their own remarks about what our messages say better."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.setLogLevel(0)


def run_video(args: argparse.Namespace, views: list) -> int:
    """A camera, a stream, a video or the sample. Returns the exit status."""
    window = open_window(args)
    output = video_output(args) if args.output else None
    source = open_source(args, endless=output is None and bool(window or args.virtual_camera))
    try:
        network = open_network(args)
        size = choose_size(args, network) if source.live else args.size
        sinks = [open_writer(output, source, args)] if output else []
        sinks += [VirtualCamera(source.rate)] if args.virtual_camera else []
    except BaseException:
        source.close()
        raise
    print(f"{source.name}, {source.rate:.4g} frames/s; {network.name}", file=sys.stderr)
    timing = Timing()
    finder = Finder(small_faces=args.small_faces) if args.find else None
    settings = Settings(size, args.find_every)
    rate = None if source.live else source.rate
    segmenter = Segmenter(network, finder, settings, args.smooth, rate, timing)
    stream = Stream(source.name, source.rate, source.live)

    def look_for(view: str) -> None:
        # To hide faces, each frame is looked at for those that come in, and at the full size.
        segmenter.settings = Settings(args.size, find_every=1) if view == "blur-face" else settings

    player = Player(views, args.threshold, stream, sinks, window, args.folder, timing, look_for)
    start = time.perf_counter()
    status = play_all(Pipeline(source, segmenter, timing), player, args.max_frames, progress=window is None)
    print_summary(player.count, "frames", time.perf_counter() - start, timing if args.timing else None)
    if getattr(source, "damaged", 0):
        text = f"{source.name}: {source.damaged} frames were damaged; the last good one stands for each"
        print(text, file=sys.stderr)
    if output and player.count:
        print(f"wrote {sinks[0].result}", file=sys.stderr)
    return status


def open_writer(output: Path, source, args: argparse.Namespace) -> VideoWriter:
    sound = source.sound if args.sound else None
    transparent = args.view == "cutout"
    return VideoWriter(output, source.rate, source.colors, sound, transparent, args.crf, args.preset)


def play_all(pipeline: Pipeline, player: Player, max_frames: int | None, progress: bool) -> int:
    """Everything that comes out of the pipeline. Returns the exit status; OSError if writing fails."""
    source, warning, status = pipeline.source, "", 0
    whole = False  # whether all that was asked for has come
    total = max_frames or getattr(source, "expected", None)
    with tqdm(total=total, unit=" frames", disable=None if progress else True, leave=False) as bar, pipeline:
        try:
            while not whole:
                if (result := pipeline.take(player.idle)) is None:
                    whole = True
                    if source.sound is not None:
                        source.sound.ended = True
                    break
                frozen = source.live and source.frozen(time.perf_counter())
                if frozen and not warning:
                    warning = f"{source.name} gives the same picture again and again: is it stuck or covered?"
                    player.say(warning)
                elif not frozen:
                    warning = ""
                bar.update()
                if not player.play(result, warning):
                    whole = source.live
                    break
                whole = player.count == max_frames
        except UserError as error:
            print(f"infer.py: {error}", file=sys.stderr)
            status = 1
        except KeyboardInterrupt:
            print("infer.py: interrupted; what was written so far is kept", file=sys.stderr)
            status, whole = 130, source.live
        finally:
            with undisturbed():
                player.close(whole)
    return status or (1 if warning or player.failed else 0)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """While it lasts, Ctrl-C and the like do nothing: a recording is being finished."""
    numbers = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_pictures(args: argparse.Namespace, views: list) -> int:
    """Pictures one by one; a broken one does not hold up the rest. Returns the exit status."""
    if args.virtual_camera:
        raise UserError("--virtual-camera needs a video or a camera as the source, not pictures")
    pictures = find_pictures(args.source)[:: args.stride][: args.max_frames]
    suffix = ".png" if args.view in ("cutout", "mask") else None
    outputs = name_outputs(pictures, args.source, args.output, suffix, also_read(args)) if args.output else []
    window = None if outputs else open_window(args)
    network = open_network(args)
    if args.flip:
        network = with_flip(network)
    finder = Finder(photo=True, small_faces=args.small_faces) if args.find else None
    timing = Timing()
    player = Player(views, args.threshold, SINGLE, [], window, args.folder, timing)
    failed = 0
    start = time.perf_counter()
    try:
        for number, picture in enumerate(tqdm(pictures, unit=" pictures", disable=None if outputs else True)):
            try:
                result = picture_result(picture, number, network, finder, args, timing)
                if outputs:
                    drawn = player.draw(result)
                    with timing("write"):
                        write_picture(outputs[number], drawn)
            except UserError as error:
                tqdm.write(f"infer.py: {error}", file=sys.stderr)
                failed += 1
                continue
            player.count += 1
            if window is not None and not player.hold(
                result, f"{picture.name}: space for the next, q to end"
            ):
                break
    finally:
        player.close()
    print_summary(player.count, "pictures", time.perf_counter() - start, timing if args.timing else None)
    if failed:
        print(f"infer.py: {failed} of {len(pictures)} pictures could not be done", file=sys.stderr)
    return 1 if failed or player.failed else 0


def picture_result(path: Path, number: int, network, finder, args, timing: Timing) -> Result:
    with timing("read"):
        image = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2BGR)
    mask = segment_picture(network, finder, image, args.size, timing)
    return Result(Frame(image, number, time.perf_counter(), number, number + 1), mask)


def open_window(args: argparse.Namespace) -> Window | None:
    """None if there is to be none, or if there is no display. Raises UserError if nothing would happen."""
    shown = args.window and has_display()
    if args.window and not shown:
        print("infer.py: there is no display, so no window opens", file=sys.stderr)
    if not (shown or args.output or args.virtual_camera or args.timing):
        raise UserError("nothing would come out of this: give an --output")
    if not shown:
        return None
    window = Window("LinkNet34")
    window.open()
    return window


def video_output(args: argparse.Namespace) -> Path:
    """The file that is written. Raises UserError if it is an input, or another file beside the source."""
    output = Path(args.output)
    source = Path(args.source or "camera")
    if output.is_dir():
        output = output / (source.stem + ".mp4")
        if output.exists() and source.exists() and output.parent.samefile(source.parent):
            raise UserError(f"{output} is there already, beside the source: choose another --output")
    refuse_inputs([output, beside(output)], [source, *also_read(args)])
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


def choose_size(args: argparse.Namespace, network) -> int:
    """The longest side of the network's input for a live source: smaller on a slow processor.

    Not where the user chose it, nor to hide faces, of which a smaller one misses more.
    """
    if args.size_chosen or args.view == "blur-face":
        return args.size
    size, took = live_size(network, args.size)
    if size < args.size:
        print(
            f"the network takes {1000 * took:.0f} ms at {args.size} pixels here: taking {size}, "
            f"which is less exact (--size {args.size} keeps it)",
            file=sys.stderr,
        )
    return size


def print_summary(count: int, what: str, seconds: float, timing: Timing | None) -> None:
    print(f"{count} {what} in {seconds:.1f} s, {count / max(seconds, 1e-6):.1f} {what}/s")
    if timing is not None:
        print(timing.table())


if __name__ == "__main__":
    run(main)
