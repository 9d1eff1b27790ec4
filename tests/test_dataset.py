"""Every data layout and mask encoding reads to the same examples, and what fits none is named."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset import FaceSegData, PairFolder, open_dataset, readable_indices
from files.masks import label_values, read_mask
from utils import MEAN, STD, UserError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def pairs():
    """Five images, (5, 24, 32, 3) uint8 RGB with every channel different, and masks of 0, 128, 255."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 24, 32, 3)).astype(np.uint8)
    masks = rng.choice([0, 255], (5, 24, 32)).astype(np.uint8)
    return images, masks


def write_folder(folder, images, masks, suffix=".png"):
    for name, arrays in (("images", images), ("masks", masks)):
        (folder / name).mkdir(parents=True)
        for index, array in enumerate(arrays):
            Image.fromarray(array).save(folder / name / f"p{index}{suffix if name == 'images' else '.png'}")


def check_equal(found, images, masks):
    assert len(found) == len(images)
    for index in range(len(images)):
        image, mask = found[index]
        assert image.dtype == mask.dtype == np.uint8
        assert image.flags.c_contiguous
        assert np.array_equal(image, images[index])
        assert np.array_equal(mask, masks[index])


# ---- folders of pictures


@pytest.mark.parametrize("place", [".", "train"])
def test_folder_is_read_in_order(pairs, tmp_path, place):
    write_folder(tmp_path / place, *pairs)
    found = open_dataset(tmp_path, "train")
    assert found.names == ["p0", "p1", "p2", "p3", "p4"]
    check_equal(found, *pairs)


def test_a_plain_folder_is_no_test_part(pairs, tmp_path):
    write_folder(tmp_path, *pairs)
    assert len(open_dataset(tmp_path, "train")) == len(open_dataset(tmp_path, "all")) == 5
    with pytest.raises(UserError, match=r"test/images and test/masks; images and masks alone are no test"):
        open_dataset(tmp_path, "test")


def test_split_folders_are_not_mixed_up(pairs, tmp_path):
    images, masks = pairs
    write_folder(tmp_path / "train", images[:2], masks[:2])
    write_folder(tmp_path / "test", images[2:], masks[2:])
    check_equal(open_dataset(tmp_path, "train"), images[:2], masks[:2])
    check_equal(open_dataset(tmp_path, "test"), images[2:], masks[2:])


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp", ".webp", ".tif", ".tiff"])
def test_picture_formats(tmp_path, suffix):
    image = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    write_folder(tmp_path, [image], [np.zeros((20, 30), np.uint8)], suffix)
    found, _ = open_dataset(tmp_path, "train")[0]
    assert np.abs(found.astype(int) - image).max() <= 4  # RGB, not BGR, whatever the format


def test_pictures_may_differ_in_size(tmp_path):
    images = [np.zeros((h, w, 3), np.uint8) for h, w in ((10, 50), (70, 20))]
    write_folder(tmp_path, images, [image[..., 0] for image in images])
    assert [image.shape for image, _ in PairFolder(tmp_path)] == [(10, 50, 3), (70, 20, 3)]


def test_other_files_are_no_pictures(pairs, tmp_path):
    write_folder(tmp_path, *pairs)
    for name in ("images/notes.txt", "images/.hidden.png", "masks/Thumbs.db"):
        (tmp_path / name).write_text("x")
    assert len(PairFolder(tmp_path)) == 5


def test_errors_name_the_file(pairs, tmp_path):
    write_folder(tmp_path, *pairs)
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "nowhere"))):
        open_dataset(tmp_path / "nowhere", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds neither img_test.npy"):
        open_dataset(tmp_path / "empty", "test")
    Image.fromarray(pairs[0][0]).save(tmp_path / "images" / "p1.jpg")
    with pytest.raises(UserError, match=r"p1.png and .*p1.jpg share one name"):
        open_dataset(tmp_path, "train")
    (tmp_path / "images" / "p1.jpg").unlink()
    (tmp_path / "images" / "p2.png").unlink()
    with pytest.raises(UserError, match=r"p2.png: this mask has no picture"):
        open_dataset(tmp_path, "train")
    (tmp_path / "masks" / "p2.png").unlink()
    (tmp_path / "masks" / "p4.png").unlink()
    with pytest.raises(UserError, match=r"images.p4.png: this picture has no mask"):
        open_dataset(tmp_path, "train")
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="images holds no pictures"):
        open_dataset(tmp_path, "train")


def test_size_that_differs_is_named(pairs, tmp_path):
    write_folder(tmp_path, *pairs)
    Image.new("L", (31, 24)).save(tmp_path / "masks" / "p3.png")
    with pytest.raises(UserError, match=r"p3.png is 31x24, but its picture p3.png is 32x24"):
        PairFolder(tmp_path)[3]


@pytest.mark.parametrize("affix", ["{}_mask", "mask_{}", "{}_1_mask1"])
def test_masks_with_one_prefix_or_suffix_more_are_recognised(pairs, tmp_path, affix, caplog):
    write_folder(tmp_path, *pairs)
    for path in list((tmp_path / "masks").iterdir()):
        path.rename(path.with_stem(affix.format(path.stem)))
    with caplog.at_level("INFO", "faceseg"):
        check_equal(open_dataset(tmp_path, "train"), *pairs)
    assert f"all masks {'end in' if affix[0] == '{' else 'start with'} {affix.format('')}" in caplog.text
    (tmp_path / "masks" / f"{affix.format('p3')}.png").rename(tmp_path / "masks" / "p3.png")
    with pytest.raises(UserError, match="has no"):  # not all of them: nothing is guessed
        open_dataset(tmp_path, "train")


def test_a_mask_of_the_picture_as_stored_is_explained(pairs, tmp_path):
    images, masks = pairs
    write_folder(tmp_path, images, masks)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(images[0]).save(tmp_path / "images" / "p0.png", exif=exif)
    with pytest.raises(
        UserError, match=r"p0\.png is 32x24, but its picture p0\.png is 24x32: its EXIF rotates"
    ):
        PairFolder(tmp_path)[0]


def test_bad_ones_can_be_left_out(pairs, tmp_path):
    images, masks = pairs
    write_folder(tmp_path, images, masks)
    (tmp_path / "images" / "p0.png").write_bytes(b"")
    Image.fromarray(np.full((24, 32), 9, np.uint8)).save(tmp_path / "masks" / "p1.png")
    (tmp_path / "masks" / "p2.png").unlink()
    good, messages = readable_indices(open_dataset(tmp_path, "train", skip_bad=True))
    assert good.tolist() == [3, 4]
    assert [re.search(r"p\d.png", message).group() for message in messages] == ["p0.png", "p1.png", "p2.png"]
    assert "holds 9" in messages[1]


def test_command_names_every_bad_file(pairs, tmp_path):
    write_folder(tmp_path, *pairs)
    command = [sys.executable, str(ROOT / "dataset.py"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "5 good, 0 bad\n")
    (tmp_path / "images" / "p0.png").write_bytes(b"\x89PNG")
    (tmp_path / "masks" / "p2.png").unlink()
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "3 good, 2 bad\n")
    assert "p0.png" in result.stderr
    assert "p2.png" in result.stderr
    assert "Traceback" not in result.stderr


def test_bad_picture_is_an_image_error(pairs, tmp_path):
    write_folder(tmp_path, *pairs)
    (tmp_path / "images" / "p1.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(UserError, match=r"p1.png"):
        PairFolder(tmp_path)[1]


def test_masks_as_jpeg_are_refused_at_once_or_thresholded(pairs, tmp_path):
    write_folder(tmp_path, *pairs)
    (tmp_path / "masks" / "p1.png").unlink()
    marked = np.zeros(pairs[1][1].shape[:2], np.uint8)
    marked[:, 8:] = 255
    Image.fromarray(marked).convert("RGB").save(tmp_path / "masks" / "p1.jpg", quality=60)
    with pytest.raises(UserError, match=r"p1\.jpg: JPEG changes .* --mask-threshold 128"):
        PairFolder(tmp_path)
    with pytest.raises(UserError, match=r"p1\.jpg: JPEG"):
        PairFolder(tmp_path, skip_bad=True)[1]
    folder = open_dataset(tmp_path, "train", mask_threshold=128)
    assert np.array_equal(folder[1][1], marked)
    result = subprocess.run(
        [sys.executable, ROOT / "dataset.py", str(tmp_path), "--mask-threshold", "128"],
        capture_output=True,
        text=True,
    )
    assert result.stdout.endswith(f" good, {result.stderr.count(chr(10))} bad\n")
    assert "p1" not in result.stderr


def test_a_mask_that_marks_nothing_is_bad(pairs, tmp_path):
    write_folder(tmp_path, *pairs)
    Image.fromarray(np.zeros(pairs[1][1].shape[:2], np.uint8)).save(tmp_path / "masks" / "p1.png")
    good, messages = readable_indices(PairFolder(tmp_path))
    assert 1 not in good
    assert len(messages) == 1 and messages[0].startswith("p1: its mask marks no face")
    assert 1 in readable_indices(PairFolder(tmp_path), count=1)[0]  # one of a folder for --no-face


# ---- masks


TRIMAP = np.array([[0, 128, 255, 255], [255, 0, 0, 128]], np.uint8)


def grey(values):
    return Image.fromarray(values)


def zero_one(values):
    return Image.fromarray(np.where(values == 255, 1, values).astype(np.uint8))


def colour(values):
    return Image.fromarray(np.dstack([values] * 3))


def with_alpha(values):
    return Image.fromarray(np.dstack([values] * 3 + [np.full_like(values, 255)]))


def grey_and_alpha(values):
    return Image.fromarray(np.dstack([values, np.full_like(values, 255)]), "LA")


def grey_palette(values):
    picture = Image.fromarray(np.select([values == 255, values == 128], [1, 2], 0).astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 255, 255, 255, 128, 128, 128])
    return picture


def colour_palette(values):
    picture = Image.fromarray(np.where(values == 255, 1, values).astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 128, 0, 0] + [0, 64, 200] * 254)
    return picture


@pytest.mark.parametrize(
    "encode", [grey, zero_one, colour, with_alpha, grey_and_alpha, grey_palette, colour_palette]
)
def test_mask_encodings_read_the_same(encode, tmp_path):
    encode(TRIMAP).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), TRIMAP)


def test_two_valued_mask(tmp_path):
    Image.fromarray(TRIMAP == 255).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), np.where(TRIMAP == 255, 255, 0))


def test_transparent_is_background(tmp_path):
    white = np.full((2, 4, 4), 255, np.uint8)
    white[..., 3] = np.where(TRIMAP == 255, 255, 0)
    Image.fromarray(white).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), np.where(TRIMAP == 255, 255, 0))


@pytest.mark.parametrize("values", [[0], [255], [1], [128], [0, 128], [128, 255], [128, 1]])
def test_masks_of_few_values(values):
    found = label_values(np.array([values], np.uint8), "here")
    assert found.tolist() == [[255 if value == 1 else value for value in values]]


@pytest.mark.parametrize(
    "values, named",
    [
        ([0, 77, 255], "holds 0, 77, 255"),
        ([0, 1, 255], "holds 0, 1, 255"),
        ([0, 0.5, 1], r"holds 0, 0\.5, 1"),
        ([0, -1], "holds -1, 0"),
    ],
)
def test_other_values_are_named(values, named):
    with pytest.raises(UserError, match="a_mask.png: .*" + named):
        label_values(np.array([values]), "a_mask.png")


def test_many_other_values_are_counted():
    with pytest.raises(UserError, match="holds 0, 1, 2, 3, 4, 5, 6, 7 and 91 more values"):
        label_values(np.arange(99)[None], "a_mask.png")


def test_255_in_a_palette_of_colours_is_asked_about(tmp_path):
    picture = colour_palette(TRIMAP)
    picture.putpixel((0, 0), 255)
    picture.save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"holds 0, 1, 128, 255; is 255 face or not judged\? .*tools\.masks"):
        read_mask(tmp_path / "mask.png")


def test_a_threshold_reads_greys_alone(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    for number, suffix in enumerate((".png", ".jpg")):
        for picture in (Image.fromarray(ramp), Image.fromarray(np.dstack([ramp] * 3))):
            picture.save(tmp_path / f"grey{suffix}", quality=95)
            expected = np.where(np.array(Image.open(tmp_path / f"grey{suffix}").convert("L")) >= 100, 255, 0)
            assert np.array_equal(read_mask(tmp_path / f"grey{suffix}", 100), expected), number
    Image.fromarray(TRIMAP == 255).save(tmp_path / "two.png")
    assert np.array_equal(read_mask(tmp_path / "two.png", 100), np.where(TRIMAP == 255, 255, 0))
    labels = np.zeros((40, 40, 3), np.uint8)
    labels[:20], labels[20:] = (250, 50, 83), (51, 221, 255)  # hair is the brighter one
    for suffix in (".png", ".jpg"):
        Image.fromarray(labels).save(tmp_path / f"hair{suffix}", quality=95)
        with pytest.raises(UserError, match="this has colours"):
            read_mask(tmp_path / f"hair{suffix}", 128)


def test_bad_mask_files_are_named(tmp_path):
    path = tmp_path / "mask.png"
    with pytest.raises(UserError, match=r"mask.png: no such file"):
        read_mask(path)
    Image.fromarray(np.dstack([TRIMAP, TRIMAP, 0 * TRIMAP])).save(path)
    with pytest.raises(UserError, match=r"mask.png: .* colours"):
        read_mask(path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=r"mask.png: broken picture"):
        read_mask(path)


# ---- faceseg_data


def normalised(images):
    return (images.astype(np.float32) - MEAN) / STD


IMAGE_FORMS = {
    "uint8": lambda images: images,
    "0..1": lambda images: images.astype(np.float32) / 255,
    "0..255": lambda images: images.astype(np.float64),
    "normalised": normalised,
    "normalised half": lambda images: normalised(images).astype(np.float16),
}
MASK_FORMS = {
    "(N, H, W) 0/1": lambda masks: masks // 255,
    "(N, 1, H, W) 0/255": lambda masks: masks[:, None],
    "(N, H, W, 1) float": lambda masks: masks[..., None].astype(np.float32) / 255,
    "bool": lambda masks: masks == 255,
}


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("image_form", IMAGE_FORMS)
@pytest.mark.parametrize("mask_form", MASK_FORMS)
def test_arrays_read_back_to_the_same_pixels(pairs, tmp_path, channels_first, image_form, mask_form):
    images, masks = pairs
    stored = IMAGE_FORMS[image_form](images)
    np.save(tmp_path / "img_test.npy", stored.transpose(0, 3, 1, 2) if channels_first else stored)
    np.save(tmp_path / "mask_test.npy", MASK_FORMS[mask_form](masks))
    check_equal(open_dataset(tmp_path, "test"), images, masks)


def test_a_black_first_picture_does_not_tell_the_range(pairs, tmp_path):
    images, masks = pairs
    images[0] = 0
    np.save(tmp_path / "img_test.npy", images.astype(np.float32))
    np.save(tmp_path / "mask_test.npy", masks)
    check_equal(open_dataset(tmp_path, "test"), images, masks)


def test_array_mask_keeps_128(pairs, tmp_path):
    images, masks = pairs
    masks[:, 3:7] = 128
    np.save(tmp_path / "img_train.npy", images)
    np.save(tmp_path / "mask_train.npy", np.where(masks == 255, 1, masks).astype(np.uint8))
    check_equal(open_dataset(tmp_path, "train"), images, masks)


@pytest.mark.parametrize(
    "images, masks, words",
    [
        (np.zeros((5, 24, 32)), np.zeros((5, 24, 32)), ["img_test.npy", "(5, 24, 32)"]),
        (np.zeros((5, 4, 24, 32)), np.zeros((5, 24, 32)), ["img_test.npy", "(5, 4, 24, 32)"]),
        (np.zeros((5, 3, 24, 32)), np.zeros((5, 24, 31)), ["mask_test.npy", "(5, 24, 31)"]),
        (np.zeros((5, 3, 24, 32)), np.zeros((4, 24, 32)), ["mask_test.npy", "(4, 24, 32)"]),
        (np.zeros((0, 3, 24, 32)), np.zeros((0, 24, 32)), ["img_test.npy", "no images"]),
        (np.zeros((5, 3, 0, 32)), np.zeros((5, 0, 32)), ["img_test.npy", "no images"]),
        (np.full((5, 3, 24, 32), 300.0), np.zeros((5, 24, 32)), ["img_test.npy", "300"]),
        (np.full((5, 3, 24, 32), -9.0), np.zeros((5, 24, 32)), ["img_test.npy", "-9"]),
        (np.full((5, 3, 24, 32), np.nan), np.zeros((5, 24, 32)), ["img_test.npy", "nan"]),
        (np.zeros((5, 3, 24, 32), np.int16), np.zeros((5, 24, 32)), ["img_test.npy", "int16"]),
    ],
)
def test_arrays_that_fit_nothing_are_refused(tmp_path, images, masks, words):
    np.save(tmp_path / "img_test.npy", images)
    np.save(tmp_path / "mask_test.npy", masks)
    with pytest.raises(UserError) as caught:
        FaceSegData(tmp_path, "test")
    assert all(word in str(caught.value) for word in words), caught.value


def test_odd_value_in_an_array_names_array_index_and_value(pairs, tmp_path):
    images, masks = pairs
    masks[2, 0, 0] = 7
    np.save(tmp_path / "img_test.npy", images)
    np.save(tmp_path / "mask_test.npy", masks)
    found = FaceSegData(tmp_path, "test")
    with pytest.raises(UserError, match=r"mask_test.npy\[2\]: .*holds 0, 7, 255"):
        found[2]
    assert readable_indices(found)[0].tolist() == [0, 1, 3, 4]


def test_not_a_number_in_one_image_is_named(tmp_path):
    images = np.zeros((40, 3, 8, 8), np.float32)
    images[1, 0, 2, 3] = np.nan  # not in the images that tell the range
    np.save(tmp_path / "img_test.npy", images)
    np.save(tmp_path / "mask_test.npy", np.zeros((40, 8, 8), np.uint8))
    arrays = open_dataset(tmp_path, "test")
    assert arrays[0][0].max() == 0
    with pytest.raises(UserError, match=r"img_test.npy\[1\] holds numbers that are not finite"):
        arrays[1]


def test_broken_array_files_are_named(pairs, tmp_path):
    np.save(tmp_path / "img_test.npy", pairs[0])
    with pytest.raises(UserError, match=r"mask_test.npy: no such file"):
        open_dataset(tmp_path, "test")
    path = tmp_path / "mask_test.npy"
    for content in (b"", b"not an array", (tmp_path / "img_test.npy").read_bytes()[:500]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"mask_test.npy(: the file is empty| is not a readable)"):
            open_dataset(tmp_path, "test")
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)  # would run what it holds
    with pytest.raises(UserError, match=r"mask_test.npy is not a readable .npy array"):
        open_dataset(tmp_path, "test")
    with open(path, "wb") as file:
        np.savez(file, np.zeros(3))  # mislabelled: several arrays in a zip
    with pytest.raises(UserError, match=r"mask_test.npy is not a readable .npy array"):
        open_dataset(tmp_path, "test")


def test_opening_does_not_read_the_arrays(tmp_path):
    count = 4000  # 12 GB of images, without taking room on the disk
    for name, shape in (("img_train", (count, 3, 512, 512)), ("mask_train", (count, 1, 512, 512))):
        kind = np.float32 if name == "img_train" else np.uint8
        array = np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", kind, shape)
        if name == "img_train":
            array[-1, :, 0, 0] = 1.0
        del array
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = open_dataset(tmp_path, "train")
    image, _ = found[count - 1]
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert isinstance(found.images, np.memmap)
    assert isinstance(found.masks, np.memmap)
    assert (image[0, 0] == 255).all()
    assert (after - before) / 1024 < 400  # MiB
    assert len(found) == count
