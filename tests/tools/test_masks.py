"""tools/masks.py: the same face comes out of every format that labelling tools write."""

from __future__ import annotations

import base64
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset import PairFolder
from files.masks import fit_mask
from files.pictures import read_image
from tools import masks
from utils import UserError

HEIGHT, WIDTH = 60, 80
FACE = np.zeros((HEIGHT, WIDTH), bool)
FACE[10:41, 20:51] = True
HAIR = np.zeros((HEIGHT, WIDTH), bool)
HAIR[2:10, 20:51] = True
OPEN = np.zeros((HEIGHT, WIDTH), bool)  # not judged
OPEN[50:, :] = True
CORNERS = [20, 10, 50, 10, 50, 40, 20, 40]  # of the face, x and y


def picture(folder: Path, name: str, **more) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(folder / name, **more)


def write_mask(path: Path, *regions: tuple, palette: bool = False) -> None:
    """Write a mask of (region, value), a grey, a number of a palette of colours, or a colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((HEIGHT, WIDTH, 3) if isinstance(regions[0][1], tuple) else (HEIGHT, WIDTH), np.uint8)
    for region, value in regions:
        values[region] = value
    image = Image.fromarray(values)
    if palette:
        image = Image.fromarray(values, "P")
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [224, 224, 192] * 253)
    image.save(path)


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def cvat(folder: Path) -> list:
    picture(folder / "JPEGImages", "a.png")
    colours = (FACE, (250, 50, 83)), (HAIR, (51, 221, 255)), (OPEN, (224, 224, 192))
    write_mask(folder / "SegmentationClass" / "a.png", *colours)
    write_mask(folder / "SegmentationObject" / "a.png", (FACE, (1, 2, 3)))
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nface:250,50,83::\nhair:51,221,255::\n"
    )
    return []


def colours(folder: Path) -> list:
    cvat(folder)
    (folder / "labelmap.txt").unlink()
    return ["--face", "250,50,83"]


def named_by_colour(folder: Path) -> list:
    cvat(folder)
    return ["--face", "250,50,83"]


def palette(folder: Path) -> list:
    picture(folder / "images", "a.jpg")
    write_mask(folder / "masks" / "a.png", (HAIR, 2), (FACE, 1), (OPEN, 255), palette=True)
    return ["--face", "1"]


def suffix(folder: Path) -> list:
    picture(folder / "images", "a.jpg")
    write_mask(folder / "masks" / "a_mask.png", (FACE, 255), (OPEN, 128))
    return []


def coco(folder: Path, face: object = (CORNERS,)) -> list:
    picture(folder / "images", "a.jpg")
    bottom = [0, 50, 79, 50, 79, 59, 0, 59]
    shapes = [
        {"image_id": 7, "category_id": 3, "iscrowd": 0, "segmentation": face},
        {"image_id": 7, "category_id": 4, "segmentation": [[20, 2, 50, 2, 50, 9, 20, 9]]},
        {"image_id": 7, "category_id": 3, "iscrowd": 1, "segmentation": [bottom]},
    ]
    content = {
        "images": [{"id": 7, "file_name": "some/where/a.jpg", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 3, "name": "Face"}, {"id": 4, "name": "hair"}],
        "annotations": shapes,
    }
    write_json(folder / "annotations" / "instances.json", content)
    return []


def coco_lengths(folder: Path) -> list:
    """By columns: how many pixels are outside, inside, outside ..."""
    pytest.importorskip("pycocotools")
    changes = np.flatnonzero(np.diff(FACE.T.ravel().astype(int))) + 1
    return coco(folder, {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *changes, FACE.size]).tolist()})


def coco_of_cvat(folder: Path) -> list:
    """What was brushed is said to be a crowd, as COCO wants it of run lengths."""
    coco(folder)
    path = folder / "annotations" / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"][0].update(iscrowd=1, attributes={"occluded": False})
    write_json(path, content)
    return []


def labelme_as_voc(folder: Path) -> list:
    """As older versions wrote it: numbers as arrays beside the pictures of them."""
    palette(folder)
    (folder / "images").rename(folder / "JPEGImages")
    (folder / "masks").rename(folder / "SegmentationClassPNG")
    (folder / "SegmentationClass").mkdir()
    np.save(folder / "SegmentationClass" / "a.npy", FACE.astype(np.int32))
    picture(folder / "SegmentationClassVisualization", "a.jpg")
    return ["--face", "1"]


def labelme(folder: Path) -> list:
    picture(folder, "a.jpg")
    png = io.BytesIO()
    Image.fromarray(np.ones((10, WIDTH), bool)).save(png, "PNG")
    ignored = {"label": "__ignore__", "shape_type": "mask", "points": [[0, 50], [79, 59]]}
    ignored["mask"] = base64.b64encode(png.getvalue()).decode()
    face = {"label": "face", "points": np.reshape(CORNERS, (4, 2)).tolist(), "shape_type": "polygon"}
    content = {"imagePath": "..\\pictures\\a.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH}
    write_json(folder / "a.json", {**content, "shapes": [face, ignored]})
    return []


def label_studio(
    folder: Path, name: str = "61148fa3-a.jpg", at: str = "/data/upload/1/61148fa3-a.jpg"
) -> list:
    """Two strokes make the face."""
    picture(folder / "images", name)
    upper, lower = FACE.copy(), FACE.copy()
    upper[30:], lower[:25] = False, False
    for number, stroke in enumerate((upper, lower)):
        write_mask(folder / "masks" / f"task-3-annotation-9-by-1-tag-face-{number}.png", (stroke, 255))
    write_mask(folder / "masks" / "task-3-annotation-9-by-1-tag-hair-0.png", (HAIR, 255))
    task = {"id": 3, "data": {"image": at}, "annotations": []}
    write_json(folder / "project-1.json", [task])
    return []


def label_studio_of_a_disk(folder: Path) -> list:
    return label_studio(folder, at="/data/local-files/?d=faces/61148fa3-a.jpg")


def label_studio_of_a_cloud(folder: Path) -> list:
    return label_studio(folder, "my a.jpg", "s3://bucket/my%20a.jpg")


def celebamask(folder: Path) -> list:
    """The skin continues below the hair; the picture has twice the size of the masks."""
    pixels = np.random.default_rng(0).integers(0, 256, (2 * HEIGHT, 2 * WIDTH, 3), np.uint8)
    (folder / "CelebA-HQ-img").mkdir(parents=True)
    Image.fromarray(pixels).save(folder / "CelebA-HQ-img" / "7.jpg")
    skin = FACE | HAIR
    skin[20:30, 30:40] = False
    nose = np.zeros_like(FACE)
    nose[20:30, 30:40] = True
    for part, region in (("skin", skin), ("nose", nose), ("hair", HAIR), ("neck", OPEN), ("l_ear", OPEN)):
        write_mask(folder / "CelebAMask-HQ-mask-anno" / "0" / f"00007_{part}.png", (region, (255, 255, 255)))
    return []


def yolo(folder: Path) -> list:
    picture(folder / "images" / "train", "a.jpg")
    shares = np.reshape(CORNERS, (4, 2)) / (WIDTH, HEIGHT)
    (folder / "labels" / "train").mkdir(parents=True)
    line = "1 " + " ".join(map(str, shares.ravel()))
    (folder / "labels" / "train" / "a.txt").write_text(f"0 0.1 0.1 0.2 0.1 0.2 0.2\n{line}\n")
    return ["--face", "1"]


def yolo_of_label_studio(folder: Path) -> list:
    """A picture without anything has an empty file, and there is JSON too."""
    arguments = yolo(folder)
    picture(folder / "images" / "train", "b.jpg")
    (folder / "labels" / "train" / "b.txt").touch()
    write_json(folder / "notes.json", {"categories": [], "info": {}})
    return arguments


def yolo_by_parts(folder: Path) -> list:
    arguments = yolo(folder / "export")
    (folder / "train").mkdir()
    for name in ("images", "labels"):
        (folder / "export" / name / "train").rename(folder / "train" / name)
    return arguments


def turned(folder: Path) -> list:
    """The mask is drawn on the picture as it is stored; the right side up is a quarter to the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(folder / "images", "a.jpg", exif=exif)
    write_mask(folder / "masks" / "a.png", (FACE, 255), (OPEN, 128))
    return []


JUDGED = (
    coco,
    coco_lengths,
    coco_of_cvat,
    cvat,
    colours,
    named_by_colour,
    palette,
    labelme_as_voc,
    suffix,
    turned,
    labelme,
)  # these know what is not
FORMATS = (
    *JUDGED,
    label_studio,
    label_studio_of_a_disk,
    label_studio_of_a_cloud,
    celebamask,
    yolo,
    yolo_of_label_studio,
    yolo_by_parts,
)


@pytest.mark.parametrize("write", FORMATS)
def test_every_format_gives_the_same_face(write, tmp_path, run_here):
    arguments = write(tmp_path / "export")
    result = run_here(masks.main, tmp_path / "export", tmp_path / "made", *arguments)
    assert result.returncode == 0, result.stderr
    expected = np.where(FACE, 255, np.where(OPEN, 128, 0) if write in JUDGED else 0)
    ((image, mask),) = PairFolder(tmp_path / "made")
    if write is celebamask:
        expected = np.kron(expected, np.ones((2, 2)))
    assert np.array_equal(mask, np.rot90(expected, -1) if write is turned else expected)
    originals = [
        p for p in (tmp_path / "export").rglob("*.*") if p.name.endswith(("a.jpg", "7.jpg", "a.png"))
    ]
    assert any(np.array_equal(image, read_image(path)) for path in originals)
    assert read_image(tmp_path / "made" / "overlays.jpg").std() > 10
    taken = arguments[1] if arguments else "skin" if write is celebamask else "face"
    assert taken in result.stdout.splitlines()[0].lower()


def test_pictures_without_a_mask_are_named_and_left_out(tmp_path, run_here):
    coco(tmp_path / "export")
    picture(tmp_path / "export" / "images", "b.jpg")
    content = json.loads((tmp_path / "export" / "annotations" / "instances.json").read_text())
    content["images"].append({"id": 8, "file_name": "b.jpg", "height": HEIGHT, "width": WIDTH})
    write_json(tmp_path / "export" / "annotations" / "instances.json", content)
    result = run_here(masks.main, tmp_path / "export", tmp_path / "made")
    assert (
        result.returncode == 0 and "1 pictures without a mask of a face were left out: b.jpg" in result.stdout
    )
    assert PairFolder(tmp_path / "made").names == ["a"]


def test_what_covers_the_face_is_taken_out(tmp_path, run_here):
    cvat(tmp_path / "export")
    result = run_here(masks.main, tmp_path / "export", tmp_path / "made", "--face", "face", "--face", "HAIR")
    assert all(label in result.stdout.splitlines()[0] for label in ("face=250,50,83", "hair=51,221,255"))
    both = PairFolder(tmp_path / "made")[0][1] == 255
    assert np.array_equal(both, FACE | HAIR)
    nothing = run_here(
        masks.main, tmp_path / "export", tmp_path / "less", "--face", "face", "--cover", "face"
    )
    assert nothing.returncode == 1 and "covers lie over all of it" in nothing.stderr
    assert not (tmp_path / "less").exists()


def change_json(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    write_json(path, content)


@pytest.mark.parametrize("judged", [True, False])
def test_what_is_not_judged_in_a_face_stays_so_but_a_crowd_does_not(judged, tmp_path, run_here):
    (labelme if judged else coco)(tmp_path / "export")
    (path,) = (tmp_path / "export").rglob("*.json")
    inside = [[30, 20], [40, 20], [40, 30], [30, 30]]
    if judged:
        shape = {"label": "__ignore__", "shape_type": "polygon", "points": inside}
        change_json(path, lambda content: content["shapes"].insert(0, shape))
    else:
        shape = {"image_id": 7, "category_id": 3, "iscrowd": 1, "segmentation": [np.ravel(inside).tolist()]}
        change_json(path, lambda content: content["annotations"].append(shape))
    run_here(masks.main, tmp_path / "export", tmp_path / "made")
    ((_, mask),) = PairFolder(tmp_path / "made")
    assert (mask[20:31, 30:41] == (128 if judged else 255)).all()
    assert (mask[FACE] == 255).sum() == FACE.sum() - 121 * judged


@pytest.mark.parametrize("name", ["skin", "Skin"])
def test_hair_covers_skin_whatever_the_case(name, tmp_path, run_here):
    coco(tmp_path / "export", [[20, 2, 50, 2, 50, 40, 20, 40]])
    path = tmp_path / "export" / "annotations" / "instances.json"
    change_json(path, lambda content: content["categories"][0].update(name=name))
    change_json(path, lambda content: content["annotations"].pop())
    run_here(masks.main, tmp_path / "export", tmp_path / "made")
    ((_, mask),) = PairFolder(tmp_path / "made")
    assert np.array_equal(mask == 255, FACE)


def test_a_square_mask_is_not_turned(tmp_path, run_here):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("images", "masks"):
        (tmp_path / "export" / name).mkdir(parents=True)
    drawn = np.pad(FACE, ((0, WIDTH - HEIGHT), (0, 0))) * np.uint8(255)
    Image.fromarray(np.dstack([drawn] * 3)).save(tmp_path / "export" / "images" / "a.jpg", exif=exif)
    Image.fromarray(drawn).save(tmp_path / "export" / "masks" / "a.png")
    run_here(masks.main, tmp_path / "export", tmp_path / "made")
    assert np.array_equal(PairFolder(tmp_path / "made")[0][1], drawn)


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
def test_a_mask_is_turned_as_its_picture_is(tmp_path, orientation):
    exif, mask = Image.Exif(), np.zeros((20, 30), np.uint8)
    exif[0x0112], mask[:5, :12] = orientation, 255
    Image.fromarray(np.dstack([mask] * 3)).save(tmp_path / "a.png", exif=exif)
    shown = read_image(tmp_path / "a.png")[..., 0]
    assert np.array_equal(fit_mask(mask, tmp_path / "a.png", shown.shape), shown)


def test_a_mask_of_other_proportions_is_refused(tmp_path):
    picture(tmp_path, "a.png")
    assert fit_mask(np.zeros((121, 160), np.uint8), tmp_path / "a.png", (60, 80)).shape == (60, 80)
    with pytest.raises(UserError, match=r"a\.png is 80x60, but its mask is 80x65"):
        fit_mask(np.zeros((65, 80), np.uint8), tmp_path / "a.png", (60, 80))


def test_boxes_are_refused_where_they_are_asked_for(tmp_path, run_here):
    labelme(tmp_path / "export")
    box = {"label": "person", "shape_type": "rectangle", "points": [[0, 0], [9, 9]]}
    change_json(tmp_path / "export" / "a.json", lambda content: content["shapes"].append(box))
    assert run_here(masks.main, tmp_path / "export", tmp_path / "made").returncode == 0
    result = run_here(masks.main, tmp_path / "export", tmp_path / "new", "--face", "person")
    assert result.returncode == 1 and "its person is a rectangle: outline it" in result.stderr


@pytest.mark.parametrize("label", ["__ignore__", "hair"])
def test_a_box_that_would_change_the_mask_is_refused(label, tmp_path, run_here):
    labelme(tmp_path / "export")
    box = {"label": label, "shape_type": "rectangle", "points": [[0, 0], [9, 9]]}

    def change(content) -> None:
        content["shapes"][0]["label"] = "skin"  # which hair covers
        content["shapes"].append(box)

    change_json(tmp_path / "export" / "a.json", change)
    result = run_here(masks.main, tmp_path / "export", tmp_path / "made")
    assert result.returncode == 1 and f"its {label} is a rectangle" in result.stderr


def test_json_goes_before_yolos_texts(tmp_path, run_here):
    coco(tmp_path / "export")
    (tmp_path / "export" / "labels").mkdir()
    (tmp_path / "export" / "labels" / "classes.txt").write_text("face\n")
    assert run_here(masks.main, tmp_path / "export", tmp_path / "made").returncode == 0


def break_json(folder: Path) -> None:
    (folder / "annotations" / "instances.json").write_text("{")


def lose_picture(folder: Path) -> None:
    (folder / "images" / "a.jpg").rename(folder / "images" / "b.jpg")


def lose_pictures(folder: Path) -> None:
    shutil.rmtree(folder / "JPEGImages")


def add_a_broken_one(folder: Path) -> None:
    write_json(folder / "b.json", {**json.loads((folder / "a.json").read_text()), "imageHeight": None})


def change_coco(folder: Path, **changes) -> None:
    path = folder / "annotations" / "instances.json"
    write_json(path, {**json.loads(path.read_text()), **changes})


IMAGE = {"id": 7, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}


@pytest.mark.parametrize(
    ("write", "spoil", "words"),
    [
        (coco, break_json, "instances.json: no readable JSON"),
        (coco, lose_picture, "its picture a.jpg is not in"),
        (coco, lambda folder: change_coco(folder, annotations=3), "not as labelme or COCO should be"),
        (coco, lambda folder: change_coco(folder, images=[IMAGE] * 2), "a.jpg is labelled twice in"),
        (coco, lambda folder: change_coco(folder, images=[{**IMAGE, "height": 10**9}]), "80x1000000000"),
        (
            coco,
            lambda folder: change_coco(folder, images=[{**IMAGE, "height": 90}]),
            "a.jpg is 80x60, but its mask",
        ),
        (cvat, lose_pictures, "holds no pictures: export with the pictures"),
        (labelme, add_a_broken_one, "b.json: not as labelme or COCO should be"),
        (lambda folder: coco(folder, []), lambda folder: None, "its labels are boxes"),
        (coco, lambda folder: change_coco(folder, categories=[]), "not as labelme or COCO should be"),
        (labelme, lambda folder: (folder / "a.json").write_text('{"shapes": []}'), "'imagePath'"),
        (
            label_studio,
            lambda folder: (folder / "project-1.json").unlink(),
            "which picture is task 3?",
        ),
        (
            yolo,
            lambda folder: (folder / "labels/train/a.txt").write_text("0 0.5 0.5 0.1 0.1"),
            "is no outline",
        ),
        (
            yolo,
            lambda folder: (folder / "labels/train/a.txt").write_text("0 a b c d e f"),
            "not as yolo should be",
        ),
        (palette, lambda folder: picture(folder / "masks", "a.png"), "values, as JPEG and smooth edges do"),
        (
            cvat,
            lambda folder: (folder / "labelmap.txt").unlink(),
            "no label is named face; name it with --face: 0,0,0",
        ),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_written(write, spoil, words, tmp_path, run_here):
    write(tmp_path / "export")
    spoil(tmp_path / "export")
    result = run_here(masks.main, tmp_path / "export", tmp_path / "made")
    assert result.returncode == 1 and words in result.stderr, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


ODD = (
    None,
    True,
    -1,
    0,
    1e30,
    10**30,
    float("nan"),
    "",
    "x" * 300,
    "../a.jpg",
    [],
    [[]],
    {},
    [1, 2, 3],
    "\udcff",
)


def places(value: object, way: tuple = ()) -> list:
    """Return the way to every value in JSON."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, each in inside for place in places(each, (*way, key)))]


@pytest.mark.parametrize("write", [coco, labelme, label_studio])
def test_odd_values_anywhere_in_an_export_are_refused_in_words(write, tmp_path, run_here):
    arguments = write(tmp_path / "export")
    (path,) = (tmp_path / "export").rglob("*.json")
    text = path.read_text()
    for number, way in enumerate(places(json.loads(text))):
        for odd in (ODD[number % len(ODD)], ODD[(7 * number + 3) % len(ODD)]):
            content = [json.loads(text)]
            place = content
            for key in (steps := (0, *way))[:-1]:
                place = place[key]
            place[steps[-1]] = odd
            path.write_text(json.dumps(content[0]))
            result = run_here(masks.main, tmp_path / "export", tmp_path / "made", *arguments)
            assert "should not have happened" not in result.stderr, (way, odd, result.stderr)
            assert (result.returncode == 0) == (tmp_path / "made").exists(), (way, odd)
            shutil.rmtree(tmp_path / "made", ignore_errors=True)


def test_run_lengths_without_their_package_say_what_to_install(tmp_path, run_here, monkeypatch):
    coco(tmp_path / "export", {"size": [HEIGHT, WIDTH], "counts": "abc"})
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    result = run_here(masks.main, tmp_path / "export", tmp_path / "made")
    assert result.returncode == 1 and ".venv/bin/python -m pip install pycocotools" in result.stderr


def test_a_target_that_is_there_is_refused(tmp_path, run_here):
    cvat(tmp_path / "export")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine.txt").write_text("mine")
    result = run_here(masks.main, tmp_path / "export", tmp_path / "made")
    assert result.returncode == 1 and "choose another TARGET" in result.stderr
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["mine.txt"]
