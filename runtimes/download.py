"""Fetch the published files: the trained weights, the backbone and the training data.

    python -m runtimes.download linknet     # trained LinkNet34      -> downloads/linknet_oneflow_model
    python -m runtimes.download backbone    # ResNet34 -> downloads/pretrained_resnet_oneflow_model
    python -m runtimes.download data        # faces and their masks  -> faceseg_data

A download that breaks off goes on where it stopped, also in a later run. What is there already is not
fetched again. Without a network, put the zip file where the error message says and run the command again.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import stat
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Iterator, NamedTuple

from tqdm import tqdm

from files.paths import temporary_beside
from utils import Parser, UserError, run

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 30  # seconds without a byte
SLOWEST = 1000  # bytes a second, over as long a time
ATTEMPTS = 5  # in a row without a byte of progress
CHUNK = 1 << 18
UNPACKED_LIMIT = 64 << 30  # bytes: far above any of the published archives


class Published(NamedTuple):
    """A published zip file."""

    url: str
    place: str  # of the unpacked folder, in the repository
    holds: tuple = ()  # files that the folder must have


MODELS = "https://oneflow-public.oss-cn-beijing.aliyuncs.com/model_zoo/cv/seg/"
PUBLISHED = {
    "linknet": Published(MODELS + "linknet_oneflow_model.zip", "downloads/linknet_oneflow_model"),
    "backbone": Published(
        MODELS + "pretrained_resnet_oneflow_model.zip", "downloads/pretrained_resnet_oneflow_model"
    ),
    "data": Published(
        "https://oneflow-static.oss-cn-beijing.aliyuncs.com/train_data_zjlab/faceseg_data.zip",
        "faceseg_data",
        ("img_train.npy", "mask_train.npy", "img_test.npy", "mask_test.npy"),
    ),
}


class Interrupted(Exception):
    """The transfer broke off: worth another attempt."""


def fetch_published(name: str, folder: Path = ROOT, url: str | None = None) -> Path:
    """Download and unpack one of PUBLISHED below `folder`, if it is not there yet; return its folder.

    `url` replaces its address. Raises UserError.
    """
    published = PUBLISHED[name]
    target = Path(folder) / published.place
    if target.is_dir() and any(target.iterdir()):
        missing = missing_files(target, published.holds)
        if missing and len(missing) < len(published.holds):  # none: a data folder of the user's own
            raise UserError(f"{target} has no {', '.join(missing)}: put it there, or remove the folder")
        return target
    if os.path.lexists(target) and not target.is_dir():
        raise UserError(f"{target} is in the way: it is no folder, or a link to one that is not there")
    url = url or published.url
    archive = Path(folder) / "downloads" / url.rpartition("/")[2]
    if not archive.exists():
        fetch(url, archive)
    unpack(archive, target, published.holds)
    archive.unlink()
    return target


def fetch(url: str, path: Path, wait: float = 1.0) -> None:
    """Download `url` to `path`, which appears only once it is complete.

    Until then the bytes are in `path`.part, where the next attempt, or the next run, goes on. `wait` is the
    pause in seconds after the first failed attempt; it grows. Raises UserError.
    """
    part, failures = path.with_name(path.name + ".part"), 0
    print(f"Downloading {url}", file=sys.stderr)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            before = size_of(part)
            try:
                transfer(url, part)
                break
            except Interrupted as error:
                failures = 1 if size_of(part) > before else failures + 1
                if failures == ATTEMPTS:
                    raise UserError(str(error)) from error
                print(f"{error}; trying again", file=sys.stderr)
                time.sleep(wait * failures)
        os.replace(part, path)
    except (OSError, UserError) as error:
        raise UserError(
            f"cannot download {url} to {path}: {getattr(error, 'strerror', None) or error}. "
            "The same command goes on where it stopped; or fetch the file in another way and put it there."
        ) from error


def transfer(url: str, part: Path) -> None:
    """Append to `part` what is missing of it, or begin it anew where the server sends all.

    Raises Interrupted, or UserError where another attempt is of no use.
    """
    have = size_of(part)
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={have}-"}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # `part` is no piece of what is there now
            part.unlink()
            raise Interrupted("the file has changed") from error
        kind = Interrupted if error.code in (408, 429) or error.code >= 500 else UserError
        raise kind(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(f"no connection ({getattr(error, 'reason', error)})") from error
    with response:
        if response.headers.get_content_type() == "text/html":
            raise UserError("the answer is a web page, not the file")
        goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        begin = have if goes_on and response.status == 206 else 0
        total = None if response.length is None else begin + response.length
        bar = tqdm(total=total, initial=begin, unit="B", unit_scale=True, unit_divisor=1024, disable=None)
        with open(part, "ab" if begin else "wb") as file, bar:
            for chunk in chunks(response):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and size_of(part) != total:
        raise Interrupted(f"the connection broke off after {size_of(part)} of {total} bytes")


def chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the body in pieces. Raises Interrupted where the network fails or all but stands still."""
    started, got = time.monotonic(), 0
    while True:
        try:
            chunk = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise Interrupted(f"the connection broke off ({error})") from error
        if not chunk:
            return
        yield chunk
        got += len(chunk)
        if time.monotonic() - started > TIMEOUT:
            if got < SLOWEST * TIMEOUT:
                raise Interrupted(f"{got} bytes came in {TIMEOUT} seconds")
            started, got = time.monotonic(), 0


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def unpack(archive: Path, folder: Path, holds: tuple = ()) -> None:
    """Unpack a zip file so that `folder` appears complete or not at all.

    Folders that hold nothing but one folder are skipped. Every member's checksum is looked at first, and that
    it is a plain file or folder inside the archive. Raises UserError.
    """
    print(f"Unpacking to {folder}", file=sys.stderr)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as file, temporary_beside(folder, folder=True) as temporary:
            members = [member for member in file.infolist() if not member.filename.startswith("__MACOSX/")]
            check_members(members, shutil.disk_usage(temporary).free)
            damaged = file.testzip()
            if damaged:
                raise UserError(f"its member {damaged} is damaged")
            file.extractall(temporary, members)
            top = temporary
            while len(inside := list(top.iterdir())) == 1 and inside[0].is_dir():
                top = inside[0]
            missing = missing_files(top, holds)
            if missing or not inside:
                raise UserError(f"it has no {', '.join(missing) or 'files'}")
            os.replace(top, folder)
    except (OSError, UserError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise UserError(
            f"cannot unpack {archive}: {error}. Remove it if it is damaged, and try again."
        ) from error


def missing_files(folder: Path, names: tuple) -> list:
    return [name for name in names if not (folder / name).is_file()]


def check_members(members: list, free: int) -> None:
    """Raise UserError for a member that lands elsewhere, is no plain file, or is absurdly large."""
    for member in members:
        name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
            raise UserError(f"its member {name} would be written outside of the folder")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UserError(f"its member {name} is a link or a device")
    size = sum(member.file_size for member in members)
    if size > min(free, UNPACKED_LIMIT):
        raise UserError(f"it unpacks to {size >> 20} MB; the disk has {free >> 20} MB left")


def make_parser() -> Parser:
    parser = Parser(__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PUBLISHED, help="what to fetch")
    parser.add_argument("--folder", type=Path, default=ROOT, help="below which it is put (the repository)")
    return parser


def main() -> None:
    args = make_parser().parse_args()
    print(fetch_published(args.name, args.folder))


if __name__ == "__main__":
    run(main)
