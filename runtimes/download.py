"""Fetch the published files: the trained weights, the backbone and the training data.

    python -m runtimes.download linknet     # trained LinkNet34      -> downloads/linknet_oneflow_model
    python -m runtimes.download backbone    # ResNet34 -> downloads/pretrained_resnet_oneflow_model
    python -m runtimes.download data        # faces and their masks  -> faceseg_data

A download that breaks off goes on where it stopped, also in a later run. What is there already is not
fetched again. Without a network, put the zip file where the error message says and run the command again.
"""

from __future__ import annotations

import http.client
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from tqdm import tqdm

from files.paths import atomic_path
from utils import Parser, UserError, run

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 30  # seconds without a byte
ATTEMPTS = 5  # in a row without a byte of progress
MODELS = "https://oneflow-public.oss-cn-beijing.aliyuncs.com/model_zoo/cv/seg/"
PUBLISHED = {
    "linknet": MODELS + "linknet_oneflow_model.zip",
    "backbone": MODELS + "pretrained_resnet_oneflow_model.zip",
    "data": "https://oneflow-static.oss-cn-beijing.aliyuncs.com/train_data_zjlab/faceseg_data.zip",
}


def fetch_published(name: str, folder: Path = ROOT) -> Path:
    """Download and unpack one of PUBLISHED below `folder`, if it is not there yet; return its folder."""
    url = PUBLISHED[name]
    archive = folder / "downloads" / url.rpartition("/")[2]
    target = folder / "faceseg_data" if name == "data" else archive.with_suffix("")
    if not (target.is_dir() and any(target.iterdir())):
        if not archive.exists():
            fetch(url, archive)
        unpack(archive, target)
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
        while not path.exists():
            before = size_of(part)
            try:
                transfer(url, part)
                os.replace(part, path)
            except (OSError, http.client.HTTPException) as error:
                failures = 1 if size_of(part) > before else failures + 1
                if failures == ATTEMPTS:
                    raise
                print(f"{error}; trying again", file=sys.stderr)
                time.sleep(wait * failures)
    except (OSError, http.client.HTTPException, UserError) as error:
        raise UserError(
            f"cannot download {url} to {path}: {error}. "
            "The same command goes on where it stopped; or fetch the file in another way and put it there."
        ) from error


def transfer(url: str, part: Path) -> None:
    """Append to `part` what is missing of it, or begin it anew where the server sends all.

    Raises UserError where another attempt is of no use, OSError or HTTPException where it is.
    """
    have = size_of(part)
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={have}-"}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # `part` is no piece of what is there now
            part.unlink()
        elif error.code < 500 and error.code not in (408, 429):
            raise UserError(error) from error
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise UserError("the answer is a web page, not the file")
        begin = have if response.status == 206 else 0
        total = None if response.length is None else begin + response.length
        bar = {"total": total, "initial": begin, "unit": "B", "unit_scale": True, "disable": None}
        with open(part, "ab" if begin else "wb") as file, tqdm.wrapattr(response, "read", **bar) as body:
            shutil.copyfileobj(body, file)
    if total is not None and size_of(part) != total:
        raise OSError(f"the connection broke off after {size_of(part)} of {total} bytes")


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip file so that `folder` appears complete or not at all, without the folders around it.

    No member lands outside of it: zipfile sees to that, and makes plain files of links. Raises UserError.
    """
    print(f"Unpacking to {folder}", file=sys.stderr)
    try:
        with zipfile.ZipFile(archive) as file, atomic_path(folder, folder=True) as temporary:
            members = [
                m for m in file.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")
            ]
            if not members:
                raise UserError("it has no files")
            around = os.path.commonpath([os.path.dirname(member.filename) for member in members])
            for member in members:
                member.filename = os.path.relpath(member.filename, around or ".")
                file.extract(member, temporary)
    except (OSError, UserError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise UserError(
            f"cannot unpack {archive}: {error}. Remove it if it is damaged, and try again."
        ) from error


def make_parser() -> Parser:
    parser = Parser("Fetch the published weights, the backbone or the training data, and unpack them.")
    parser.add_argument("name", choices=PUBLISHED, help="what to fetch")
    parser.add_argument("--folder", type=Path, default=ROOT, help="below which it is put (the repository)")
    return parser


def main() -> None:
    args = make_parser().parse_args()
    print(fetch_published(args.name, args.folder))


if __name__ == "__main__":
    run(main)
