"""Fetching the published files: the trained weights, the backbone and the training data.

    python -m runtimes.download linknet     # trained LinkNet34      -> downloads/linknet_oneflow_model
    python -m runtimes.download backbone    # ResNet34 -> downloads/pretrained_resnet_oneflow_model
    python -m runtimes.download data        # faces and their masks  -> faceseg_data

A download that breaks off goes on where it stopped, also in a later run. What is there already is not
fetched again. Without a network, put the zip file where the error message says and run the command again.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import http.client
import os
import shutil
import stat
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tqdm import tqdm

from utils import Parser, UserError, run

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 30  # seconds without a byte
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
    """Downloads and unpacks one of PUBLISHED below `folder`, if it is not there yet.

    `url` replaces its address. Gives the unpacked folder; raises UserError.
    """
    published = PUBLISHED[name]
    target = Path(folder) / published.place
    if target.is_dir():
        missing = missing_files(target, published.holds)
        if missing and len(missing) < len(published.holds):  # none: a data folder of the user's own
            raise UserError(f"{target} has no {', '.join(missing)}: put it there, or remove the folder")
        return target
    if os.path.lexists(target):
        raise UserError(f"{target} is in the way: it is no folder, or a link to one that is not there")
    url = url or published.url
    archive = Path(folder) / "downloads" / url.rpartition("/")[2]
    fetch(url, archive)
    unpack(archive, target, published.holds)
    archive.unlink()
    return target


def fetch(url: str, path: Path, wait: float = 1.0) -> Path:
    """Downloads `url` to `path`, which appears only once it is complete; nothing is done where it exists.

    Until then the bytes are in `path`.part, where the next attempt, or the next run, goes on. `wait` is the
    pause in seconds after the first failed attempt; it doubles. Raises UserError.
    """
    path = Path(path)
    if path.exists():
        return path
    part = path.with_name(path.name + ".part")
    print(f"Downloading {url}", file=sys.stderr)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        attempt = 0
        while True:
            before = size_of(part)
            try:
                transfer(url, part)
                break
            except Interrupted as error:
                attempt = 1 if size_of(part) > before else attempt + 1
                if attempt == ATTEMPTS:
                    raise UserError(str(error)) from error
                print(f"{error}; trying again", file=sys.stderr)
                time.sleep(wait * 2 ** (attempt - 1))
        os.replace(part, path)
    except (OSError, UserError) as error:
        reason = "the disk is full" if getattr(error, "errno", None) == errno.ENOSPC else error
        raise UserError(
            f"cannot download {url}\nto {path}: {reason}.\n"
            "Run the same command again to go on, or fetch the file in another way and put it there."
        ) from error
    forget(part)
    return path


def transfer(url: str, part: Path) -> None:
    """One attempt: appends to `part` what is missing of it, or begins it anew if the server wants that."""
    tag_file = part.with_name(part.name + ".tag")
    have, tag = size_of(part), tag_file.read_text() if tag_file.exists() else ""
    if not tag:
        have = 0  # no way to know that it is a piece of the same file
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    with connect(request, part) as response:
        if response.headers.get_content_type() == "text/html":
            raise UserError("the answer is a web page, not the file")
        begin, total = extent(response, have)
        # Weak tags do not vouch for single bytes.
        tag = response.headers.get("ETag", "")
        tag_file.write_text(tag if tag.startswith('"') else response.headers.get("Last-Modified", ""))
        free = shutil.disk_usage(part.parent).free
        if total is not None and total - begin > free:
            raise UserError(f"{(total - begin) >> 20} MB are missing, and the disk has {free >> 20} MB left")
        with open(part, "ab" if begin else "wb") as file:
            copy(response, file, begin, total)
    if total is not None and size_of(part) != total:
        raise Interrupted(f"the connection broke off after {size_of(part)} of {total} bytes")


def connect(request: urllib.request.Request, part: Path):
    """The response, or Interrupted where another attempt may help and UserError where it cannot."""
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # `part` is no piece of what is there now
            forget(part)
            raise Interrupted("the file has changed") from error
        answer = f"the server answers {error.code} {error.reason}"
        raise (Interrupted if error.code in (408, 429) or error.code >= 500 else UserError)(answer) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise Interrupted(f"no connection ({reason})") from error


def extent(response: http.client.HTTPResponse, have: int) -> tuple:
    """(the first byte that the response brings, the size of the whole file or None)."""
    length = response.headers.get("Content-Length")
    if response.status != 206:
        return 0, int(length) if length else None
    span, _, total = response.headers.get("Content-Range", "").rpartition("/")
    if span.partition("-")[0].split() != ["bytes", str(have)] or not total.isdigit():
        raise UserError("the server sends another part of the file than the one asked for")
    return have, int(total)


def copy(response: http.client.HTTPResponse, file, begin: int, total: int | None) -> None:
    """Copies the body to the file. Trouble with the network is Interrupted, with the disk an OSError."""
    bar = tqdm(total=total, initial=begin, unit="B", unit_scale=True, unit_divisor=1024, disable=None)
    with bar:
        while True:
            try:
                chunk = response.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise Interrupted(f"the connection broke off ({error})") from error
            if not chunk:
                return
            file.write(chunk)
            bar.update(len(chunk))


def size_of(path: Path) -> int:
    """0 where there is no file."""
    return path.stat().st_size if path.exists() else 0


def forget(part: Path) -> None:
    """Removes what an unfinished download has left."""
    for file in (part, part.with_name(part.name + ".tag")):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()


def unpack(archive: Path, folder: Path, holds: tuple = ()) -> None:
    """Unpacks a zip file so that `folder` appears complete or not at all.

    Folders that hold nothing but one folder are skipped. Every member is checked first: its checksum, and
    that it is a plain file or folder inside the archive. Raises UserError.
    """
    print(f"Unpacking to {folder}", file=sys.stderr)
    Path(folder).parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{Path(folder).name}.tmp", dir=Path(folder).parent))
    try:
        with zipfile.ZipFile(archive) as file:
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
        if missing:
            raise UserError(f"it has no {', '.join(missing)}")
        top.chmod(0o755)  # a temporary folder is its owner's alone
        os.rename(top, folder)
    except (OSError, UserError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        reason = "the disk is full" if getattr(error, "errno", None) == errno.ENOSPC else error
        raise UserError(
            f"cannot unpack {archive}: {reason}.\nRemove it if it is damaged, and try again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def missing_files(folder: Path, names: tuple) -> list:
    return [name for name in names if not (folder / name).is_file()]


def check_members(members: list, free: int) -> None:
    """Raises UserError for a member that lands elsewhere, is no plain file, or is absurdly large."""
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
