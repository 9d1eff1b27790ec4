"""Fetch the published files: python -m runtimes.download linknet|backbone|data

The trained LinkNet34 and ResNet34 are unpacked in downloads/, the faces and their masks in faceseg_data/.
What breaks off goes on where it stopped, also in a later run. What is there already is not fetched again.
Without curl or a network, put the zip file where the error message says and run the command again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

from files.paths import atomic_path, lock
from utils import Parser, UserError, log, run

ROOT = Path(__file__).resolve().parent.parent
MODELS = "https://oneflow-public.oss-cn-beijing.aliyuncs.com/model_zoo/cv/seg/"
PUBLISHED = {
    "linknet": MODELS + "linknet_oneflow_model.zip",
    "backbone": MODELS + "pretrained_resnet_oneflow_model.zip",
    "data": "https://oneflow-static.oss-cn-beijing.aliyuncs.com/train_data_zjlab/faceseg_data.zip",
}
ARRAYS = {f"{kind}_{split}.npy" for kind in ("img", "mask") for split in ("train", "test")}
ATTEMPTS = 5
CURL = (  # its exit status is 0 only for a whole file; the HTTP status goes to stdout
    *("curl", "--fail", "--location", "--show-error", "--write-out", "%{http_code}", "--continue-at", "-"),
    *("--connect-timeout", "30", "--speed-time", "30", "--speed-limit", "100"),  # seconds; bytes a second
)


def fetch_published(name: str, folder: Path = ROOT) -> Path:
    """Download and unpack one of PUBLISHED below `folder`, if it is not there yet; return its folder.

    Raises UserError where it cannot, and where only a part of the training data is there.
    """
    url = PUBLISHED[name]
    archive = folder / "downloads" / url.rpartition("/")[2]
    target = folder / "faceseg_data" if name == "data" else archive.with_suffix("")
    if is_there(target):
        return target
    archive.parent.mkdir(parents=True, exist_ok=True)
    place = archive.parent.resolve()  # it may be a link to a larger disk
    try:  # of processes that start together one fetches
        alone = lock(place)
    except BlockingIOError:
        log.info("another process is downloading to %s: waiting for it", place)
        alone = lock(place, wait=True)
    try:
        if not is_there(target):
            if not archive.exists():
                fetch(url, archive)
            unpack(archive, target)
            archive.unlink()
    finally:
        if alone is not None:
            os.close(alone)
    return target


def is_there(folder: Path) -> bool:
    """Return whether anything is in a folder. Raises UserError for a part of the training data."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if there & ARRAYS and ARRAYS - there:
        raise UserError(
            f"{folder} lacks {', '.join(sorted(ARRAYS - there))}: put them there, or move the folder away "
            "and run the same command again, which fetches all of it"
        )
    return bool(there)


def fetch(url: str, archive: Path, pause: float = 1.0) -> None:
    """Download the zip file at `url` to `archive`, which appears only once it is complete.

    Until then the bytes are in `archive`.part, where the next attempt, or the next run, goes on. pause: in
    seconds before the second attempt, longer before the others. Raises UserError.
    """
    log.info(f"Downloading {url}")
    remedy = f"The same command goes on where it stopped; or fetch {url} yourself and put it at {archive}."
    if shutil.which("curl") is None:
        raise UserError(f"curl is missing (on Debian or Ubuntu: apt install curl). {remedy}")
    part = archive.with_name(archive.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    shown = "--progress-bar" if sys.stderr.isatty() else "--silent"
    for attempt in range(1, ATTEMPTS + 1):
        curl = subprocess.run([*CURL, shown, "--output", part, url], stdout=subprocess.PIPE, text=True)
        if curl.stdout == "416" or curl.returncode == 33:  # `part` is no piece of what is there now
            part.unlink(missing_ok=True)
        elif curl.returncode == 0:
            break
        elif attempt == ATTEMPTS or curl.stdout.startswith("4"):
            raise UserError(f"curl cannot download to {archive}; it says why above. {remedy}")
        time.sleep(pause * attempt)
    if not zipfile.is_zipfile(part):
        part.unlink(missing_ok=True)
        raise UserError(f"{url} is not a zip file here: does a proxy answer with a page of its own? {remedy}")
    part.replace(archive)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip file so that `folder` appears complete or not at all, without the folders around it.

    Raises UserError. No member lands outside of it: zipfile sees to that, and makes plain files of links.
    """
    log.info(f"Unpacking to {folder}")
    try:
        with zipfile.ZipFile(archive) as file, atomic_path(folder, folder=True) as temporary:
            members = [m for m in file.infolist() if not m.is_dir() and "__MACOSX/" not in m.filename]
            if not members:
                raise UserError("it has no files")
            around = os.path.commonpath([os.path.dirname(member.filename) for member in members])
            for member in members:
                member.filename = os.path.relpath(member.filename, around or ".")
                file.extract(member, temporary)
    except (OSError, UserError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise UserError(
            f"cannot unpack {archive}: {error}. If it is damaged, remove it; try again."
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
