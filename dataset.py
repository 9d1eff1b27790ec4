"""Reading the training data: the published `faceseg_data`, or folders of pictures with their masks.

    from dataset import open_dataset
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
from PIL import Image, UnidentifiedImageError

from files.paths import regular_file
from files.pictures import IMAGE_SUFFIXES, open_picture, picture_files, read_image
from utils import FACE, MEAN, NOT_JUDGED, STD, Parser, UserError, run, whole


class PairFolder:
    """`images/NAME.jpg` (or another picture format) with `masks/NAME.png` (likewise), of any size.

    Raises UserError for a picture without mask, a mask without picture, or a mask as JPEG, which changes its
    values, where there is no `mask_threshold`: at once, or with `skip_bad` when that item is read.
    """

    def __init__(self, folder: str | os.PathLike, skip_bad: bool = False, mask_threshold: int | None = None):
        self.mask_threshold = mask_threshold
        folder = Path(folder)
        images, masks = list_pictures(folder / "images"), list_pictures(folder / "masks")
        if not images:
            raise UserError(f"{folder / 'images'} holds no pictures ({', '.join(IMAGE_SUFFIXES)})")
        self.names = sorted({**images, **masks})
        self.paths = [(images.get(name), masks.get(name)) for name in self.names]
        self.files = [*images.values(), *masks.values()]
        if not skip_bad:
            for index in range(len(self.paths)):
                self.check(index)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple:
        image_path, mask_path = self.check(index)
        image, mask = read_image(image_path), read_mask(mask_path, self.mask_threshold)
        if image.shape[:2] != mask.shape:
            raise UserError(
                f"{mask_path} is {mask.shape[1]}x{mask.shape[0]}, but its picture {image_path.name} is "
                f"{image.shape[1]}x{image.shape[0]}; both must have one size"
            )
        return image, mask

    def check(self, index: int) -> tuple:
        """Return the paths of a picture and its mask. Raises UserError, see above."""
        image_path, mask_path = self.paths[index]
        if mask_path is None:
            raise UserError(f"{image_path}: this picture has no mask in {image_path.parent.parent / 'masks'}")
        if image_path is None:
            raise UserError(f"{mask_path}: this mask has no picture in {mask_path.parent.parent / 'images'}")
        if self.mask_threshold is None and mask_path.suffix.lower() in (".jpg", ".jpeg"):
            raise UserError(
                f"{mask_path}: JPEG changes the values of a mask: write it as PNG, or take "
                "--mask-threshold 128, where nothing is marked as not judged"
            )
        return image_path, mask_path


class FaceSegData:
    """The published arrays `img_SPLIT.npy` and `mask_SPLIT.npy`, memory-mapped.

    Images may be (N, 3, H, W) or (N, H, W, 3), uint8 or floats in 0..1, 0..255 or normalised as the input of
    the network; masks (N, 1, H, W), (N, H, W, 1) or (N, H, W) with 0/1 or 0/255. Raises UserError for others.
    """

    def __init__(self, folder: str | os.PathLike, split: str):
        self.image_path, self.mask_path = (
            Path(folder) / f"img_{split}.npy",
            Path(folder) / f"mask_{split}.npy",
        )
        self.files = [self.image_path, self.mask_path]
        self.images, self.masks = map(open_array, self.files)
        shape = self.images.shape
        self.channels_first = len(shape) == 4 and shape[1] == 3
        if not self.channels_first and not (len(shape) == 4 and shape[3] == 3):
            raise UserError(f"{self.image_path}: the shape {shape} is neither (N, 3, H, W) nor (N, H, W, 3)")
        self.height, self.width = shape[2:] if self.channels_first else shape[1:3]
        if self.masks.size != len(self.images) * self.height * self.width or len(self.masks) != len(
            self.images
        ):
            raise UserError(
                f"{self.mask_path}: the shape {self.masks.shape} does not fit the images' {shape}"
            )
        if self.masks.dtype.kind not in "biuf":
            raise UserError(f"{self.mask_path}: masks must be numbers, not {self.masks.dtype}")
        if not self.images.size:
            raise UserError(f"{self.image_path} holds no images")
        self.gain, self.shift = pixel_range(self.images, self.image_path, self.channels_first)
        self.names = [f"{index:06d}" for index in range(len(self.images))]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple:
        image = np.asarray(self.images[index])
        if self.channels_first:
            image = image.transpose(1, 2, 0)
        if image.dtype != np.uint8:
            if not np.isfinite(image).all():
                raise UserError(f"{self.image_path}[{index}] holds numbers that are not finite")
            image = np.clip(np.rint(image * self.gain + self.shift), 0, 255).astype(np.uint8)
        mask = np.asarray(self.masks[index]).reshape(self.height, self.width)
        return np.ascontiguousarray(image), label_values(mask, f"{self.mask_path}[{index}]")


def open_dataset(
    folder: str | os.PathLike, split: str, skip_bad: bool = False, mask_threshold: int | None = None
):
    """Open `folder` in whichever layout it has.

    That is `img_SPLIT.npy` and `mask_SPLIT.npy`; `SPLIT/images` and `SPLIT/masks`; or `images` and `masks`,
    which are every split but `test`: they may have been trained on. Raises UserError where it has none of
    them, and for a picture without mask or a mask without picture: with `skip_bad` only when that item is
    read. mask_threshold: the value (1 to 255) from which on a mask file shows face; no pixel is 128 then.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if (folder / f"img_{split}.npy").exists():
        return FaceSegData(folder, split)
    if (folder / split / "images").is_dir():
        return PairFolder(folder / split, skip_bad, mask_threshold)
    if (folder / "images").is_dir():
        if split == "test":
            raise UserError(
                f"{folder} has no test part, only {folder / 'images'}; put pictures that are not trained on "
                f"into {folder / 'test' / 'images'} and their masks into {folder / 'test' / 'masks'}"
            )
        return PairFolder(folder, skip_bad, mask_threshold)
    raise UserError(
        f"{folder} is none of the known layouts: img_{split}.npy and mask_{split}.npy; {split}/images and "
        f"{split}/masks; or images and masks"
    )


def readable_indices(pairs, count: int | None = None) -> tuple:
    """Read every pair once: give (indices of the good ones, messages about the bad ones).

    Bad are also those of the first `count` (all, if None) whose masks mark nothing: a face that was never
    labelled teaches that it is none.
    """
    good, messages = [], []
    for index in range(len(pairs)):
        try:
            _, mask = pairs[index]
            if not mask.any() and (count is None or index < count):
                raise UserError(
                    f"{pairs.names[index]}: its mask marks no face: label it, or move the picture to "
                    "a folder for --no-face"
                )
            good.append(index)
        except UserError as error:
            messages.append(str(error))
    return np.array(good, int), messages


def list_pictures(folder: Path) -> dict:
    """Give {stem: path} of the pictures in a folder; two pictures of one stem raise UserError."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    pictures = {}
    for path in picture_files(folder):
        if path.stem in pictures:
            raise UserError(f"{path} and {pictures[path.stem].name} share one name; leave only one of them")
        pictures[path.stem] = path
    return pictures


def read_mask(path: Path, threshold: int | None = None) -> np.ndarray:
    """Read a mask file as HxW uint8 of 0, 128, 255.

    Grey, 1-bit, palette, RGB and RGBA files are understood. Colour files must show greys, and transparent
    pixels are background. A palette of greys is read by these, one of colours by its numbers. With a
    threshold, what is at least that bright is face and the rest background.
    """
    try:
        with open_picture(regular_file(path)) as picture:
            picture.load()
            if threshold is not None:
                return np.where(np.array(picture.convert("L")) >= threshold, FACE, 0).astype(np.uint8)
            if picture.mode in ("1", "L", "I;16", "I"):
                values = np.array(picture.convert("L") if picture.mode == "1" else picture)
            else:
                red, green, blue, alpha = np.moveaxis(np.array(picture.convert("RGBA")), 2, 0)
                if (red == green).all() and (red == blue).all():
                    values = np.where(alpha >= 128, red, 0)
                elif picture.mode == "P":
                    values = np.array(picture)
                else:
                    raise UserError(f"{path}: a mask must be black, white or grey, and this one has colours")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, UnidentifiedImageError) as error:
        raise UserError(f"{path} is not a readable mask picture ({error})") from None
    return label_values(values, str(path))


def label_values(values: np.ndarray, where: str) -> np.ndarray:
    """Turn a mask's values, 0/1 or 0/255 and either with 128, into 0, 128, 255; UserError for any others."""
    found = np.unique(values)
    if np.isin(found, (0, 1, NOT_JUDGED)).all():
        return np.where(values == 1, FACE, values).astype(np.uint8)
    if np.isin(found, (0, NOT_JUDGED, FACE)).all():
        return values.astype(np.uint8)
    odd = [value for value in found.tolist() if value not in (0, NOT_JUDGED, FACE)]
    raise UserError(
        f"{where}: a mask must hold 0 and 255 (or 0 and 1), and 128 for not judged; this one holds {odd[:5]}"
        + (f" and {len(odd) - 5} more values" if len(odd) > 5 else "")
    )


def open_array(path: Path) -> np.ndarray:
    try:
        # np.load would take an .npz for one too
        return np.lib.format.open_memmap(regular_file(path), mode="r")
    except Exception as error:  # a damaged header is read as Python, and raises almost anything
        raise UserError(f"{path} is not a readable .npy array; fetch it again ({error})") from None


def pixel_range(images: np.ndarray, path: Path, channels_first: bool) -> tuple:
    """Give (gain, shift), to be multiplied with and added to an HWC image for values of 0..255.

    The range is read from up to 16 images spread over the array.
    """
    if images.dtype == np.uint8:
        return 1.0, 0.0
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"{path}: images must be uint8 or float, not {images.dtype}")
    sample = images[np.linspace(0, len(images) - 1, min(len(images), 16)).astype(int)]
    low, high = float(sample.min()), float(sample.max())
    if np.isfinite((low, high)).all():
        if low >= 0 and high <= 1:
            return 255.0, 0.0
        if low >= 0 and high <= 255:
            return 1.0, 0.0
        channels = np.moveaxis(sample, 1 if channels_first else 3, 0).reshape(3, -1)
        pixels = channels * STD[:, None] + MEAN[:, None]
        if pixels.min() > -1 and pixels.max() < 256:
            return STD, MEAN
    raise UserError(f"{path}: values from {low:g} to {high:g} are neither 0..1, 0..255 nor normalised pixels")


def make_parser() -> Parser:
    parser = Parser("Read every picture and mask once and name the bad ones.")
    parser.add_argument("data", help="a data folder, as for train.py")
    parser.add_argument("--split", default="train", choices=("train", "test"))
    parser.add_argument("--mask-threshold", type=whole(1, 255), help="from here on a mask file shows face")
    return parser


def main() -> int:
    args = make_parser().parse_args()
    good, messages = readable_indices(open_dataset(args.data, args.split, True, args.mask_threshold))
    print("\n".join(messages), file=sys.stderr, end="\n" if messages else "")
    print(f"{len(good)} good, {len(messages)} bad")
    return 1 if messages else 0


if __name__ == "__main__":
    run(main)
