"""Pictures and their labelled regions, as labelling tools write them.

    for labelled in read_labels(Source(Path("export"))):
        labelled.picture, labelled.regions  # its path; {label: HxW bool}, empty where nothing is labelled

A label is a name, a colour "250,50,83", a number "1", or a name with its colour, "face=250,50,83". Every
function raises UserError for files that are not as their format says.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from PIL import Image

from files.masks import by_name, without_affix
from files.outlines import decode, fill
from files.paths import regular_file
from files.pictures import IMAGE_SUFFIXES, picture_of, read_image
from utils import NOT_JUDGED, UserError

IMAGE_FOLDERS = ("images", "JPEGImages", "CelebA-HQ-img")
MASK_FOLDERS = ("masks", "SegmentationClass", "SegmentationClassPNG", "CelebAMask-HQ-mask-anno")
NO_PICTURES = "masks|Segmentation.*|CelebAMask-HQ-mask-anno"  # folders of masks, for eyes too
OUTLINES = "**/labels/**/*.txt"  # YOLO's
VOID = "not judged"  # the label of what VOC leaves open: number 255, or the colour E0E0C0
CROWD = "a crowd"  # COCO's: not judged either, but what is labelled in it is
IGNORED = "__ignore__"  # labelme's name of the same
MOST_VALUES = 64  # of a mask: blended edges make more
STROKE = re.compile(r"task-(\d+)-annotation-\d+-by-.*?-tag-(.*)-\d+")  # Label Studio's masks
PART = re.compile(r"(\d{5})_([a-z_]+)")  # CelebAMask-HQ's


@dataclass
class Labelled:
    picture: Path
    regions: dict[str, np.ndarray] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)  # labels of what is no region: "rectangle" ...

    def add(self, label: object, region: np.ndarray) -> None:
        """Unite HxW bool with the region of a label."""
        if any(region.shape != other.shape for other in self.regions.values()):
            raise UserError(f"{self.picture}: its masks have different sizes")
        label = VOID if label == IGNORED else str(label)
        self.regions[label] = self.regions.get(label, False) | region


class Source:
    """The files of an export: `pictures` and `masks`, {name without ending: path}, and JSON."""

    def __init__(self, folder: Path, images: Path | None = None):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; unpack the export first")
        self.folder = folder
        self.images = images or next((folder / n for n in IMAGE_FOLDERS if (folder / n).is_dir()), folder)
        # labelme's SegmentationClass may hold arrays, and its pictures be beside it.
        self.masks = next(filter(None, (list_below(folder / n) for n in MASK_FOLDERS)), {})
        self.pictures = list_below(self.images, but=NO_PICTURES)
        if not self.pictures:
            remedy = "export with the pictures, or name their folder with --pictures"
            raise UserError(f"{self.images} holds no pictures: {remedy}")

    def jsons(self) -> Iterator[tuple[Path, object]]:
        """Yield (path, content) of all JSON files, one at a time: labelme's hold their pictures."""
        for path in sorted(self.folder.rglob("*.json")):
            try:
                yield path, json.loads(regular_file(path).read_text("utf-8-sig"))
            except (OSError, ValueError, RecursionError) as error:
                raise UserError(f"{path}: no readable JSON ({error})") from None

    def picture(self, name: str, named_in: Path) -> Path:
        """Return the picture that an export names by a path or an address, of whatever system."""
        last = last_name(name)
        stem = next((s for s in (last.stem, unquote(last.stem)) if s in self.pictures), None)
        if stem is None:
            raise UserError(f"{named_in}: its picture {last} is not in {self.images}: see --pictures")
        return self.pictures[stem]


def last_name(address: str) -> Path:
    """Return b.jpg of the path or address a/b.jpg, a\\b.jpg, b.jpg?x=1 or local-files/?d=a/b.jpg."""
    way, _, query = address.partition("?")
    return Path(re.split(r"[/\\]", query if query.startswith("d=") else way)[-1].removeprefix("d="))


def list_below(folder: Path, but: str = "") -> dict[str, Path]:
    """Return {name without ending: path} of all pictures below a folder, not in those that match `but`."""
    paths = (p for p in sorted(folder.rglob("[!.]*")) if p.suffix.lower() in IMAGE_SUFFIXES)
    folders = {p: p.relative_to(folder).parts[:-1] for p in paths}
    return by_name(p for p, names in folders.items() if not any(re.fullmatch(but, name) for name in names))


def read_labels(source: Source) -> Iterator[Labelled]:
    """Yield every picture of an export, in whichever format it is."""
    if any(map(STROKE.fullmatch, source.masks)):
        read = read_label_studio
    elif any(map(PART.fullmatch, source.masks)):
        read = read_celebamask
    elif any(path.name != "notes.json" for path in source.folder.rglob("*.json")):
        read = read_json
    elif any(source.folder.glob(OUTLINES)):
        read = read_yolo  # of Label Studio with notes.json
    else:
        read = read_coloured
    with in_words(source.folder, read.__name__.removeprefix("read_")):
        yield from read(source)


@contextmanager
def in_words(path: Path, form: str) -> Iterator[None]:
    """Raise UserError for what is not as its format says."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not as {form} should be: {error!r}") from None


def read_coloured(source: Source) -> Iterator[Labelled]:
    """A mask for each picture, of colours or numbers: CVAT's, VOC's, labelme's exported to VOC."""
    masks = without_affix(source.masks, source.pictures)
    names = {}
    for path in source.folder.rglob("labelmap.txt"):  # CVAT's: name:R,G,B:parts:actions
        lines = [line.split(":") for line in regular_file(path).read_text().splitlines() if line]
        names = {colour: f"{label}={colour}" for label, colour, *_ in lines if label[0] != "#"}
    for stem, picture in source.pictures.items():
        labelled = Labelled(picture)
        for value, region in split_values(masks[stem], bool(names)) if stem in masks else ():
            labelled.add(names.get(value, value), region)
        yield labelled


def split_values(path: Path, colours: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (colour or number, HxW bool) of each value of a mask. colours: take a palette's colours."""
    with picture_of(path) as picture:
        if picture.mode in ("1", "L", "I;16", "I") or (picture.mode == "P" and not colours):
            values, colours = np.array(picture).astype(int), False
        else:
            values, colours = np.array(picture.convert("RGB")).astype(int) @ (1 << 16, 1 << 8, 1), True
        numbers = np.unique(values).tolist()
        if len(numbers) > MOST_VALUES:
            raise UserError(f"{path} has {len(numbers)} values, as JPEG and smooth edges do: export PNG")
        names = {0xE0E0C0: VOID} if colours else {255: VOID}
        if picture.mode == "L" and set(numbers) <= {0, NOT_JUDGED, 255}:
            names = {255: "face", NOT_JUDGED: VOID}  # a mask as those to train on
        for number in numbers:
            colour = f"{number >> 16},{number >> 8 & 255},{number & 255}"
            yield names.get(number, colour if colours else str(number)), values == number


def read_label_studio(source: Source) -> Iterator[Labelled]:
    """Brush strokes as PNG; an export as JSON says which task is which picture."""
    strokes = grouped(source.masks, STROKE)
    for path, content in source.jsons():
        for task in content if isinstance(content, list) else [content]:
            texts = [text for text in {**task, **task.get("data", {})}.values() if isinstance(text, str)]
            names = [text for text in texts if last_name(text).suffix.lower() in IMAGE_SUFFIXES]
            if names:
                yield united(source.picture(names[0], path), strokes.pop(str(task.get("id")), []))
    if strokes:
        raise UserError(f"which picture is task {min(strokes)}? Export as JSON too, into {source.folder}")


def read_celebamask(source: Source) -> Iterator[Labelled]:
    """A mask for each part of a face: of the picture 7 or 00007 are 00007_skin, 00007_l_eye ..."""
    parts = grouped(source.masks, PART)
    for stem, picture in source.pictures.items():
        yield united(picture, parts.get(stem.zfill(5), []))


def grouped(masks: dict, pattern: re.Pattern) -> dict[str, list]:
    """Return {picture: (label, path) of each of its masks}, which both stand in the masks' names."""
    groups: dict[str, list] = {}
    for match, path in zip(map(pattern.fullmatch, masks), masks.values()):
        if match:
            groups.setdefault(match[1], []).append((match[2], path))
    return groups


def united(picture: Path, files: list) -> Labelled:
    """Return a picture with what is white in mask files, (label, path) each."""
    labelled = Labelled(picture)
    for label, path in files:
        with picture_of(path) as mask:
            labelled.add(label, np.array(mask.convert("L")) > 127)
    return labelled


def read_json(source: Source) -> Iterator[Labelled]:
    """labelme's files, one a picture, or COCO's."""
    for path, content in source.jsons():
        with in_words(path, "labelme or COCO"):
            yield from (read_labelme if "shapes" in content else read_coco)(source, path, content)


def read_labelme(source: Source, path: Path, content: dict) -> Iterator[Labelled]:
    labelled = Labelled(source.picture(content["imagePath"], path))
    size = content["imageHeight"], content["imageWidth"]
    for shape in content["shapes"]:
        points, kind = np.array(shape["points"], float), shape.get("shape_type", "polygon")
        region = fill(size, [points] if kind == "polygon" else [])
        if kind == "mask":  # a PNG, and the corners of where it lies
            png = Image.open(io.BytesIO(base64.b64decode(shape["mask"])), formats=["PNG"])
            left, top, part = int(points[0][0]), int(points[0][1]), np.array(png.convert("L")) > 0
            region[top : top + part.shape[0], left : left + part.shape[1]] = part
        elif kind != "polygon":
            labelled.others[str(shape["label"])] = kind
        labelled.add(shape["label"], region)
    yield labelled


def read_coco(source: Source, path: Path, content: dict) -> Iterator[Labelled]:
    """Polygons and run lengths. A crowd is none where it has attributes: so CVAT writes what was brushed."""
    labels = {category["id"]: category["name"] for category in content["categories"]}
    shapes: dict[object, list] = {}
    for shape in content["annotations"]:
        shapes.setdefault(shape["image_id"], []).append(shape)
    for image in content["images"]:
        labelled, size = Labelled(source.picture(image["file_name"], path)), (image["height"], image["width"])
        for shape in shapes.get(image["id"], []):
            outline = shape["segmentation"]
            region = fill(size, outline) if isinstance(outline, list) else decode(outline, size)
            crowd = shape.get("iscrowd") and "attributes" not in shape
            labelled.add(CROWD if crowd else labels[shape["category_id"]], region)
        yield labelled


def read_yolo(source: Source) -> Iterator[Labelled]:
    """labels/**/NAME.txt: for each outline the number of its label, then x and y as shares of the sides."""
    texts = {p.stem: p for p in source.folder.glob(OUTLINES) if p.stat().st_size}  # empty: nothing is there
    for stem, picture in source.pictures.items():
        labelled, (height, width, _) = Labelled(picture), read_image(picture).shape
        for line in regular_file(texts[stem]).read_text().splitlines() if stem in texts else ():
            label, *shares = line.split()
            if len(shares) < 6 or len(shares) % 2:
                raise UserError(f"{texts[stem]}: {line[:40]!r} is no outline (a box has none)")
            corners = np.array(shares, float).reshape(-1, 2) * (width, height)
            labelled.add(label, fill((height, width), [corners]))
        yield labelled
