"""Reading the training data: the published `faceseg_data`, or folders of pictures with their masks.

    pairs = open_dataset("faceseg_data", "train")  # the four .npy files
    pairs = open_dataset("my_faces", "test")  # my_faces/test/images/NAME.jpg and my_faces/test/masks/NAME.png
    image, mask = pairs[0]

    python dataset.py my_faces  # reads every picture and mask once and names the bad ones

Images are HWC uint8 RGB; masks are HxW uint8: 0 = background, 255 = face, 128 = not judged.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from files.masks import CONVERT, by_name, label_values, orientation, read_mask, without_affix
from files.paths import regular_file
from files.pictures import IMAGE_SUFFIXES, picture_files, read_image
from utils import FACE, MEAN, STD, Parser, UserError, integer, run


class Pairs:
    """Images and their masks: `names`, a length, and an item (image, mask) for each name."""

    names: list

    def __len__(self) -> int:
        return len(self.names)


class PairFolder(Pairs):
    """`images/NAME.jpg` (or another picture format) with `masks/NAME.png` (likewise), of any size.

    Raises UserError for a picture without mask, a mask without picture, or a mask as JPEG, which changes its
    values, where there is no `mask_threshold`: at once, or with `skip_bad` when that item is read.
    """

    def __init__(self, folder: str | os.PathLike, skip_bad: bool = False, mask_threshold: int | None = None):
        self.folder, self.mask_threshold = Path(folder), mask_threshold
        self.images, self.masks = (by_name(picture_files(self.folder / n)) for n in ("images", "masks"))
        self.masks = without_affix(self.masks, self.images)
        if not self.images:
            raise UserError(f"{self.folder / 'images'} holds no pictures ({', '.join(IMAGE_SUFFIXES)})")
        if not self.images.keys() & self.masks.keys():
            mask, image = min(self.masks, default="none at all"), min(self.images)
            names = f"pictures are named as {image!r}, masks as {mask!r}"
            raise UserError(f"{self.folder}: no mask has the name of its picture: {names}: {CONVERT}")
        self.names = sorted({**self.images, **self.masks})
        self.files = [*self.images.values(), *self.masks.values()]
        if not skip_bad:
            for name in self.names:
                self.check(name)

    def __getitem__(self, index: int) -> tuple:
        image_path, mask_path = self.check(self.names[index])
        image, mask = read_image(image_path), read_mask(mask_path, self.mask_threshold)
        if image.shape[:2] != mask.shape:
            remedy = "scale the mask"
            if image.shape[1::-1] == mask.shape and orientation(image_path) >= 5:
                remedy = "its EXIF rotates it, `python -m tools.masks` the mask too"
            raise UserError(
                f"{mask_path} is {mask.shape[1]}x{mask.shape[0]}, but its picture {image_path.name} is "
                f"{image.shape[1]}x{image.shape[0]}: {remedy}"
            )
        return image, mask

    def check(self, name: str) -> tuple:
        """Return the paths of a picture and its mask. Raises UserError, see above."""
        image, mask = self.images.get(name), self.masks.get(name)
        if mask is None:
            raise UserError(f"{image}: this picture has no mask in {self.folder / 'masks'}")
        if image is None:
            raise UserError(f"{mask}: this mask has no picture in {self.folder / 'images'}")
        if self.mask_threshold is None and mask.suffix.lower() in (".jpg", ".jpeg"):
            raise UserError(
                f"{mask}: JPEG changes the values of a mask: write it as PNG, or use "
                "--mask-threshold 128, if no pixel is marked as not judged"
            )
        return image, mask


class FaceSegData(Pairs):
    """The published arrays `img_SPLIT.npy` and `mask_SPLIT.npy`, memory-mapped.

    Images may be (N, 3, H, W) or (N, H, W, 3), uint8 or floats in 0..1, 0..255 or normalised as the input of
    the network; masks (N, 1, H, W), (N, H, W, 1) or (N, H, W) with 0/1 or 0/255. Raises UserError for others.
    """

    def __init__(self, folder: str | os.PathLike, split: str):
        self.files = [Path(folder) / f"{kind}_{split}.npy" for kind in ("img", "mask")]
        self.images, self.masks = map(open_array, self.files)
        (image_path, mask_path), shape = self.files, self.images.shape
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise UserError(f"{image_path}: the shape {shape} is neither (N, 3, H, W) nor (N, H, W, 3)")
        if shape[1] == 3:
            self.images = np.moveaxis(self.images, 1, 3)
        n, h, w, _ = self.images.shape
        if self.masks.shape not in ((n, h, w), (n, 1, h, w), (n, h, w, 1)):
            raise UserError(f"{mask_path}: the shape {self.masks.shape} does not fit the images' {shape}")
        if self.masks.dtype.kind not in "biuf":
            raise UserError(f"{mask_path}: masks must be numbers, not {self.masks.dtype}")
        if not self.images.size:
            raise UserError(f"{image_path} holds no images")
        self.masks = self.masks.reshape(n, h, w)
        self.gain, self.shift = pixel_range(self.images, image_path)
        self.names = [f"{index:06d}" for index in range(n)]

    def __getitem__(self, index: int) -> tuple:
        image, mask = np.asarray(self.images[index]), np.asarray(self.masks[index])
        if image.dtype != np.uint8:
            if not np.isfinite(image).all():
                raise UserError(f"{self.files[0]}[{index}] holds numbers that are not finite")
            image = np.clip(np.rint(image * self.gain + self.shift), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(image), label_values(mask, f"{self.files[1]}[{index}]")


def open_dataset(
    folder: str | os.PathLike, split: str, skip_bad: bool = False, mask_threshold: int | None = None
) -> Pairs:
    """Open `img_SPLIT.npy` and `mask_SPLIT.npy`; `SPLIT/images` and `SPLIT/masks`; or `images` and `masks`,
    which are every split but `test`: they may have been trained on. Raises UserError where none is there.

    skip_bad: see PairFolder. mask_threshold: the value (1 to 255) from which on a mask file shows face.
    """
    parts = find_parts(folder)
    if split not in parts and (split == "test" or "all" not in parts):
        name = "test" if split == "test" else "train"
        plain = "; images and masks alone are no test part" if split == "test" else ", nor images and masks"
        parts = f"neither img_{name}.npy and mask_{name}.npy, nor {name}/images and {name}/masks"
        raise UserError(f"{folder} holds {parts}{plain}")
    part = parts.get(split, parts.get("all"))
    return PairFolder(part, skip_bad, mask_threshold) if part else FaceSegData(folder, split)


def find_parts(folder: str | os.PathLike) -> dict:
    """Return {"train" or "test": folder of `images` and `masks`, or None for arrays} of a data folder.

    `images` and `masks` in the folder itself are the part "all". Raises UserError for no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; `bash train.sh` downloads the published data")
    parts = {}
    for split in ("train", "test"):
        if (folder / f"img_{split}.npy").exists():
            parts[split] = None
        elif (folder / split / "images").is_dir():
            parts[split] = folder / split
    if (folder / "images").is_dir():
        parts["all"] = folder
    return parts


def group_of(name: str) -> str:
    """Return what stands before the first _ of a picture's name; names without _ are one group, ""."""
    return name.partition("_")[0] if "_" in name else ""


def readable_indices(pairs: Pairs, count: int | None = None) -> tuple:
    """Read every pair once: return (indices of the good ones, messages about the bad ones).

    Bad are also those of the first `count` (all, if None) whose masks mark nothing.
    """
    good, messages = [], []
    for index in range(len(pairs)):
        try:
            _, mask = pairs[index]
            if not (mask == FACE).any() and (count is None or index < count):
                remedy = "label it, or move the picture to a folder for --no-face"
                raise UserError(f"{pairs.names[index]}: its mask marks no face: {remedy}")
            good.append(index)
        except UserError as error:
            messages.append(str(error))
    return np.array(good, int), messages


def open_array(path: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(regular_file(path), mode="r")  # np.load would accept an .npz
    except Exception as error:  # a damaged header is read as Python, and raises almost anything
        remedy = f"without the folder {path.parent}, `bash train.sh` downloads the published data"
        raise UserError(f"{path} is not a readable .npy array ({error}); {remedy}") from None


def pixel_range(images: np.ndarray, path: Path) -> tuple:
    """Return (gain, shift), with which an image * gain + shift has values of 0..255; of up to 16 images."""
    if images.dtype == np.uint8:
        return 1.0, 0.0
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"{path}: images must be uint8 or float, not {images.dtype}")
    sample = images[np.linspace(0, len(images) - 1, min(len(images), 16)).astype(int)]
    for gain, shift, beyond in ((255.0, 0.0, 0), (1.0, 0.0, 0), (STD, MEAN, 1)):  # normalised: rounded
        pixels = sample * gain + shift
        if pixels.min() >= -beyond and pixels.max() <= 255 + beyond:
            return gain, shift
    low, high = float(sample.min()), float(sample.max())
    raise UserError(f"{path}: values from {low:g} to {high:g} are neither 0..1, 0..255 nor normalised pixels")


def make_parser() -> Parser:
    parser = Parser("Read every picture and mask once and name the bad ones.")
    parser.add_argument("data", help="a data folder, as for train.py")
    parser.add_argument("--split", default="train", choices=("train", "test"))
    parser.add_argument("--mask-threshold", type=integer(1, 255), help="from here on a mask file shows face")
    return parser


def main() -> int:
    args = make_parser().parse_args()
    good, messages = readable_indices(open_dataset(args.data, args.split, True, args.mask_threshold))
    print("\n".join(messages), file=sys.stderr, end="\n" if messages else "")
    print(f"{len(good)} good, {len(messages)} bad")
    return 1 if messages else 0


if __name__ == "__main__":
    run(main)
