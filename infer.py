"""Lay the face mask over a camera's picture, a video, a stream or photos.

    python infer.py                                          # the first camera, in a window (h: help)
    python infer.py --source clip.mp4 --output out.mp4       # a video; also a picture, a folder, a stream

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
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))  # before a utils.py of who imports this

from faces.detector import Detector
from faces.mask import Face, Mask
from faces.segmenter import Segmenter, Settings, segment_picture
from files.paths import refuse_inputs
from files.pictures import ANIMATED_SUFFIXES, metadata_of, on_black, read_pixels, write_image
from media.frames import Frame, Result, Source
from media.jobs import ANIMATION, PICTURE, Job, find_jobs, is_files, list_counts, name_outputs
from media.mux import unfinished_path
from media.options import parse_arguments
from media.pipeline import Pipeline, play_all
from media.player import Player
from media.sample import Sample
from media.sources import Animation, open_video
from media.streams import fetched, is_picture_address
from media.table import FaceTable
from media.videos import open_file
from media.views import VIEWS, hides, parse_view, to_rgb, with_alpha
from media.window import open_window
from media.writers import AnimationWriter, PictureFolder, VideoWriter, VirtualCamera
from runtimes.choose import open_runtime, video_size
from runtimes.runtime import with_flip
from runtimes.timing import Timing
from runtimes.weights import default_weights, runtime_files, trained_size
from utils import UserError, explain, run


def segment(image: np.ndarray, **options) -> np.ndarray:
    """Return the probability of face for each pixel of one image: HxW float32, 0..1, in steps of 1/255.

    image: HxWx3 uint8 **RGB**. The options, and what is raised, are those of `segment_faces`.
    """
    return segment_faces(image, **options).probability / np.float32(255)


def faces(image: np.ndarray, **options) -> list[Face]:
    """Return the faces of one image, HxWx3 uint8 **RGB**, the surest first.

    Each has its `box` and the `region` of its mask, (left, top, right, bottom) in pixels of the image, right
    and bottom outside; its `confidence`, 0..1, 0 for a close-up that only the network knows as a face; and
    its `mask`, the probability, hxw uint8 of the region, 0..255: empty where the detector sees a face, the
    network none. Its `track` is its place in this order (docs/inference.md follows faces in videos). The
    options, and what is raised, are those of `segment_faces`.
    """
    return list(segment_faces(image, **options).faces)


def segment_faces(
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

    size: the longest side of the network's input, a multiple of 32; by default the one it was trained at.
    find: with False the network is given the whole image, as one face. small_faces: look at all parts of an
    image of more than 1,280 pixels. flip: look at the faces in the mirror as well, and take the mean: a
    little better, in twice the time. The network is loaded at the first call and kept; it is not for several
    threads at once. Raises ValueError for another kind of array, and what `open_runtime` raises.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"an image must be HxWx3 uint8 RGB; this one is {image.shape} {image.dtype}")
    network = kept_runtime(weights, runtime, device, precision)
    network = with_flip(network) if flip else network
    detector = kept_detector(small_faces) if find else None
    picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return segment_picture(network, detector, picture, size or trained_size(weights))


kept_runtime = functools.lru_cache(maxsize=2)(open_runtime)


@functools.lru_cache(maxsize=2)
def kept_detector(small_faces: bool) -> Detector:
    return Detector(photo=True, small_faces=small_faces)


def main() -> int:
    args = parse_arguments()
    # As Ctrl-C: what is being recorded is kept. A terminal that closes sends SIGHUP, unless under nohup.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    cv2.setLogLevel(0)  # our messages say better what it would remark
    with contextlib.ExitStack() as stack:
        if args.source is not None and is_picture_address(args.source):
            args.source = stack.enter_context(fetched(args.source))
        return run_files(args, stack) if is_files(args.source) else run_live(args, stack)


def run_live(args: argparse.Namespace, stack: contextlib.ExitStack) -> int:
    """Play a camera, a stream or the sample. Return the exit status."""
    output = Path(args.output) if args.output else None
    if output and output.is_dir() and args.view != "cutout":
        output = output / "camera.mp4"
    refuse_inputs([output, output and unfinished_path(output), args.table], also_read(args))
    player = open_player(args, stack, watched=True)
    source = open_source(args, endless=output is None and bool(player.window or args.virtual_camera))
    return run_video(args, player, open_network(args), source, output)


def run_files(args: argparse.Namespace, stack: contextlib.ExitStack) -> int:
    """Play pictures and videos one by one; a broken one does not hold up the rest. Return the exit status."""
    jobs, left_out = find_jobs(args.source, args.recursive, Path(args.output) if args.output else None)
    alone = len(jobs) == 1 and jobs[0].source == Path(args.source)
    photo = jobs[0].kind == PICTURE
    if args.virtual_camera and photo:
        raise UserError("--virtual-camera needs a video or a camera as the source, not pictures")
    if args.output:
        jobs = name_outputs(jobs, args.source, args.output, args.view)
    unfinished = [unfinished_path(job.output) for job in jobs if job.output and job.kind != PICTURE]
    refuse_inputs([job.output for job in jobs], [*also_read(args), args.table])
    refuse_inputs([*unfinished, args.table], [*(job.source for job in jobs), *also_read(args)])
    part, parts = args.shard
    jobs = jobs[part - 1 :: parts]
    if all(job.kind == PICTURE for job in jobs):
        jobs = jobs[:: args.stride][: args.max_frames]
    todo = [job for job in jobs if not (args.skip_existing and job.output and job.output.is_file())]
    done = len(jobs) - len(todo)
    if args.table and done:
        what = f"{args.table} would lack the faces of {done} results that are there already"
        raise UserError(f"{what}: use --table without --skip-existing")
    player = open_player(args, stack, watched=not args.output or (alone and not photo))
    network = open_network(args)
    counts = Counter(done=0, failed=0, **({"there already": done} if done else {}))
    pictures, faceless, worst, start = 0, [], 0, time.perf_counter()
    for job in tqdm(todo, unit=" files", disable=None if args.output and not alone else True):
        try:
            if job.kind == PICTURE:
                status = run_picture(args, player, network, job)
                pictures += 1
            else:
                source = (Animation if job.kind == ANIMATION else open_file)(job.source, args.stride)
                status = run_video(args, player, network, source, job.output)
            faceless += [] if player.found else [str(job.source)]
        except (UserError, OSError) as error:
            if alone:
                raise
            tqdm.write(f"infer.py: {explain(error)}", file=sys.stderr)
            status = 1
        counts["failed" if status else "done"] += 1
        worst = max(worst, status)
        if player.ended or status == 130:
            break
    if pictures:
        print_summary(pictures, "pictures", start, player.timing if args.timing else None)
    if hides(args.view) and faceless:
        print(f"infer.py: no face was found in {', '.join(faceless)}", file=sys.stderr)
    if not alone or not todo:
        more = f", {sum(left_out.values())} left out ({list_counts(left_out)})" if left_out else ""
        print(f"infer.py: {list_counts(counts)}{more}", file=sys.stderr)
    # Who looks at the results must not take for hidden what was left out.
    return worst or int(hides(args.view) and bool(left_out))


def run_video(args: argparse.Namespace, player: Player, network, source: Source, output: Path | None) -> int:
    """Play everything that a source gives. Return the exit status."""
    size = args.size if args.size_chosen or hides(args.view) else video_size(network, args.size, source.live)
    sinks = [open_writer(args, source, output)] if output else []
    sinks += [VirtualCamera(source.rate)] if args.virtual_camera else []
    print(f"{source.name}, {source.rate:.4g} frames/s; {network.name}", file=sys.stderr)
    detector = Detector(small_faces=args.small_faces) if args.detect else None
    settings = Settings(size, args.detect_every)
    rate = None if source.live else source.rate
    segmenter = Segmenter(network, detector, settings, args.smooth, rate, player.timing)

    def set_view(view: str) -> None:
        # To hide faces, each frame is looked at for those that come in, and at full size: fewer are missed.
        segmenter.settings = Settings(args.size, detect_every=1) if hides(view) else settings

    for remark in source.remarks if output else ():
        print(f"{source.name}: {remark}", file=sys.stderr)
    player.begin(source, sinks, set_view)
    start = time.perf_counter()
    status = play_all(Pipeline(source, segmenter, player.timing), player, args.max_frames)
    print_summary(player.count, "frames", start, player.timing if args.timing else None)
    if source.damaged:
        print(f"{source.name}: for {source.damaged} damaged frames the last good one stands", file=sys.stderr)
    if output and player.count:
        print(f"wrote {sinks[0].result}", file=sys.stderr)
    return status


def open_writer(args: argparse.Namespace, source: Source, output: Path):
    """Return what writes the pictures of a source: a video, an animation, or numbered files in a folder."""
    cutout = args.view == "cutout"
    if isinstance(source, Animation) and output.suffix.lower() in ANIMATED_SUFFIXES:
        return AnimationWriter(output)
    if cutout and (not output.suffix or output.is_dir()):
        return PictureFolder(output)
    sound = source.sound if args.sound else None
    metadata = source.metadata if args.keep_metadata else {}
    return VideoWriter(output, source.rate, source.colors, sound, cutout, args.crf, args.preset, metadata)


def run_picture(args: argparse.Namespace, player: Player, network, job: Job) -> int:
    """Look at a picture, and write or show what comes out. Return the exit status."""
    player.begin(Source(str(job.source), rate=1.0))
    with player.timing("read"):
        pixels = read_pixels(job.source)
        image = cv2.cvtColor(on_black(pixels), cv2.COLOR_RGB2BGR)
    network = with_flip(network) if args.flip else network
    detector = kept_detector(args.small_faces) if args.detect else None
    mask = segment_picture(network, detector, image, args.size, player.timing)
    result = Result(Frame(image, 0, time.perf_counter(), 0.0, 1.0), mask)
    player.note(result)
    if job.output is not None:
        drawn = player.draw(result)
        if args.view == "cutout" and pixels.shape[2] == 4:
            drawn = with_alpha(drawn, pixels)
        with player.timing("write"):
            exif = metadata_of(job.source) if args.keep_metadata else b""
            write_image(job.output, to_rgb(drawn), exif=exif)
    elif player.window is not None:
        player.hold(result, f"{job.source.name}: space for the next, q to end")
    return int(player.failed)


def open_player(args: argparse.Namespace, stack: contextlib.ExitStack, watched: bool) -> Player:
    """Return what draws, writes and, where `watched`, shows; the stack closes its window and its table."""
    names = [args.view, *(name for name in VIEWS if name != args.view)]
    views = [(name, parse_view(name, args.color, args.alpha, args.strength)) for name in names]
    window = open_window("LinkNet34") if watched and args.window else None
    if window is not None:
        stack.callback(window.close)
    elif not (args.output or args.virtual_camera or args.timing or args.table):
        raise UserError("nothing would come out of this: give an --output")
    table = stack.enter_context(FaceTable(args.table)) if args.table else None
    return Player(views, args.threshold, window, args.folder, Timing(), table)


def also_read(args: argparse.Namespace) -> list[Path]:
    """Return what is read beside the source: the weights, and the picture behind the face."""
    kind, _, what = args.view.partition(":")
    return [*runtime_files(args.weights), *([Path(what)] if kind == "background" else [])]


def open_source(args: argparse.Namespace, endless: bool) -> Source:
    """Return the camera, stream or sample asked for. endless: the sample goes on until the user ends it."""
    if args.source != "sample":
        try:
            return open_video(args.source or "0", args.stride, args.reconnect)
        except UserError as error:
            if args.source is not None:
                raise
            print(f"infer.py: {error}: taking the sample instead (--source chooses another)", file=sys.stderr)
    return Sample(endless or args.max_frames is not None, args.stride)


def open_network(args: argparse.Namespace):
    weights = args.weights
    if weights == "published":
        from runtimes.download import fetch_published

        weights = fetch_published("linknet")
    return open_runtime(weights, args.runtime, args.device, args.precision)


def print_summary(count: int, what: str, start: float, timing: Timing | None) -> None:
    seconds = max(time.perf_counter() - start, 1e-6)
    print(f"{count} {what} in {seconds:.1f} s, {count / seconds:.1f} {what}/s")
    if timing is not None:
        print(timing.table())


if __name__ == "__main__":
    run(main)
