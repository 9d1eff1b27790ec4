"""The evaluation end to end: its figures for known masks, its files, every data layout, and its errors."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from programs import ended
from scenes import RedDetector, background, draw_face, left_quarter, red_runtime

import evaluate
from dataset import open_dataset
from runtimes.runtime import image_logits
from runtimes.weights import write_weights
from training.demo import DemoFaces

ROOT = Path(__file__).parent.parent
KEYS = [
    *("images", "iou_mean", "iou_p10", "iou_all", "dice", "precision", "recall", "boundary_iou"),
    *(
        "data",
        "threshold",
        "size",
        "weights",
        "flip",
        "as_infer",
        "limit",
        "mask_threshold",
        "network",
        "seconds",
    ),
]


@pytest.fixture
def run(run_here):
    return functools.partial(run_here, evaluate.main)


def write_pairs(folder, pairs):
    """Write {name: (image HWC RGB, mask)} as images/ and masks/."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, (image, mask) in pairs.items():
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """train/ and test/ with three generated pictures of 48x40 each, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("some faces")
    for seed, split in enumerate(("train", "test")):
        faces = DemoFaces(3, size=48, seed=seed)
        write_pairs(folder / split, {f"a_{i}": (faces[i][0][:, :40], faces[i][1][:, :40]) for i in range(3)})
    return folder


class RedIsFace:
    """Stands in for a network: logits are above 0 where an image's red is above its mean of 123.68."""

    name = "a runtime of the tests"

    def __call__(self, batch):
        return batch[:, :1]


@pytest.fixture
def red_is_face(monkeypatch):
    """evaluate.py run in this process with that runtime: arguments -> None, what it printed is in capsys."""
    monkeypatch.setattr(evaluate, "open_runtime", lambda *choices: RedIsFace())

    def run(*arguments, status=0):
        assert ended(evaluate.main, *arguments) == status

    return run


def red_where(found):
    image = np.full((*found.shape, 3), 90, np.uint8)
    image[found, 0] = 200
    return image


@pytest.fixture
def known(tmp_path):
    """Two pictures whose IoU is known: 1/3 (and 8x8 wrong pixels that are not judged), and 3/4."""
    found, mask = np.zeros((64, 96), bool), np.zeros((64, 96), np.uint8)
    found[:20, :40], mask[:20, 20:60] = True, 255
    found[-8:, -8:], mask[-8:, -8:] = True, 128
    other_found, other_mask = np.zeros((96, 96), bool), np.zeros((96, 96), np.uint8)
    other_found[10:40, 10:30], other_mask[10:50, 10:30] = True, 255
    pairs = {"low_1": (red_where(found), mask), "high_1": (red_where(other_found), other_mask)}
    write_pairs(tmp_path / "known", pairs)
    return tmp_path / "known"


def test_figures_of_known_masks_are_exact(known, tmp_path, red_is_face):
    red_is_face("--data", known, "--size", 96, "--json", tmp_path / "out.json")
    figures = json.loads((tmp_path / "out.json").read_text())
    assert list(figures) == KEYS
    assert figures["images"] == 2
    assert figures["iou_mean"] == pytest.approx((1 / 3 + 3 / 4) / 2)
    assert figures["iou_p10"] == pytest.approx(1 / 3 + 0.1 * (3 / 4 - 1 / 3))
    assert figures["iou_all"] == pytest.approx((400 + 600) / (1200 + 800))
    assert figures["precision"] == pytest.approx((1 / 2 + 1) / 2)
    assert figures["recall"] == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert (figures["threshold"], figures["size"]) == (0.5, 96)


def test_images_of_which_nothing_is_judged_are_left_out(known, red_is_face, capsys, tmp_path):
    write_pairs(known, {"none_1": (np.zeros((32, 32, 3), np.uint8), np.full((32, 32), 128, np.uint8))})
    red_is_face("--data", known, "--size", 96, "--json", tmp_path / "out.json")
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["images"] == 2
    assert figures["iou_mean"] == pytest.approx((1 / 3 + 3 / 4) / 2)
    assert "1 images of whose mask no pixel is judged left out" in capsys.readouterr().err


def test_masks_in_jpeg_are_read_with_a_threshold(known, red_is_face, capsys):
    for path in (known / "masks").iterdir():
        cv2.imwrite(str(path.with_suffix(".jpg")), np.where(cv2.imread(str(path)) == 255, 240, 10))
        path.unlink()
    red_is_face("--data", known, "--size", 96, "--mask-threshold", 128)
    said = capsys.readouterr()
    assert said.out.splitlines()[1].split()[:2] == ["all", "2"]
    assert "some of these pictures may have been trained on" in said.err


def test_dark_and_light_faces_have_rows(tmp_path, red_is_face, capsys):
    """L* of the greys 40, 90, 130 and 200 is 16, 38, 54 and 81; more than half of one face is black."""
    mask = np.full((32, 32), 255, np.uint8)
    mask[:8] = 0
    pairs = {f"a_{grey}": (np.full((32, 32, 3), grey, np.uint8), mask) for grey in (40, 90, 130, 200)}
    mixed = np.full((32, 32, 3), 255, np.uint8)
    mixed[8:21] = 0
    write_pairs(tmp_path, {**pairs, "b_1": (mixed, mask), "b_2": (mixed, np.zeros_like(mask))})
    red_is_face("--data", tmp_path, "--size", 32, "--groups", "lightness")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    counts = [(row[1], row[2]) for row in rows]
    assert counts == [("0-30", "2"), ("30-45", "1"), ("45-60", "1"), ("60-100", "1"), ("face", "1")]


def test_small_and_large_faces_have_rows(tmp_path, red_is_face, capsys):
    pairs = {}
    for height in (0, 40, 47, 48, 100, 200):
        mask = np.zeros((256, 64), np.uint8)
        mask[20 : 20 + height, 8:24] = 255
        pairs[f"a_{height}"] = (np.zeros((256, 64, 3), np.uint8), mask)
    write_pairs(tmp_path, pairs)
    red_is_face("--data", tmp_path, "--size", 32, "--groups", "size")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    counts = [(row[0], row[2]) for row in rows]
    assert counts == [("0-48", "2"), ("48-96", "1"), ("96-192", "1"), ("192", "up"), ("no", "1")]
    assert rows[3][3] == "1"


def test_table_has_a_row_for_each_group(known, red_is_face, capsys):
    red_is_face("--data", known, "--size", 96, "--groups")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:3] for row in rows[1:]] == [
        *(["all", "2", "54.17"], ["high", "1", "75.00"], ["low", "1", "33.33"])
    ]


def test_worst_picture_shows_the_lowest_iou_first(known, tmp_path, red_is_face):
    picture = tmp_path / "sheets" / "worst.png"
    red_is_face("--data", known, "--size", 96, "--worst", 1, "--worst-picture", picture)
    drawn = cv2.imread(str(picture))[..., ::-1]
    (image, mask) = open_dataset(known, "all")[1]  # "low_1", after "high_1"
    marked = np.where(image[..., 0] > 123, 255, 0).astype(np.uint8)
    case = evaluate.draw_case("IoU 33.3  all/low_1", image, mask, marked)
    assert np.array_equal(drawn[:, : case.shape[1]], case) and not drawn[:, case.shape[1] :].any()


def test_picture_is_scaled_to_the_network_and_its_logits_back(tmp_path):
    seen = []

    def runtime(batch):
        seen.append(batch.shape)
        return batch[:, :1]

    left = np.zeros((150, 300), bool)
    left[:, :150] = True
    logits = image_logits(runtime, red_where(left), 128)
    assert seen == [(1, 3, 64, 128)]
    assert logits.shape == (150, 300)
    assert np.array_equal(logits > 0, left)


@pytest.mark.parametrize("options, part", [((), 0.5), (("--flip",), 1.0)])
def test_flip_looks_at_the_mirrored_image_too(options, part, tmp_path, red_is_face, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "open_runtime", lambda *choices: left_quarter)
    both_quarters = np.zeros((64, 64), np.uint8)
    both_quarters[:, :16] = both_quarters[:, 48:] = 255
    write_pairs(tmp_path, {"a": (np.zeros((64, 64, 3), np.uint8), both_quarters)})
    red_is_face("--data", tmp_path, "--size", 64, "--json", tmp_path / "j.json", *options)
    assert json.loads((tmp_path / "j.json").read_text())["iou_mean"] == pytest.approx(part)


def test_as_infer_looks_at_the_faces_that_the_detector_sees(tmp_path, red_is_face, monkeypatch):
    monkeypatch.setattr(evaluate, "open_runtime", lambda *choices: red_runtime)
    monkeypatch.setattr(evaluate, "Detector", RedDetector)
    frame = background(480, 640)
    truth = draw_face(frame, (150, 200), 12)  # at 96 pixels, 4 pixels high
    draw_face(frame, (500, 300), 4)  # not seen by the detector, and marked in the whole picture
    write_pairs(tmp_path, {"a": (frame[..., ::-1], np.where(truth, 255, 0).astype(np.uint8))})
    figures = []
    for options in ((), ("--as-infer",)):
        red_is_face("--data", tmp_path, "--size", 96, "--json", tmp_path / "j.json", *options)
        figures.append(json.loads((tmp_path / "j.json").read_text()))
    assert [one["as_infer"] for one in figures] == [False, True]
    assert figures[0]["iou_mean"] < 0.88 < 0.93 < figures[1]["iou_mean"]


@pytest.mark.parametrize("threshold, part", [(0.5, 1.0), (0.9, 0.0)])
def test_as_infer_heeds_the_options_and_looks_in_the_mirror_too(
    threshold, part, tmp_path, red_is_face, monkeypatch
):
    opened, shapes = [], []

    def network(batch):
        shapes.append(batch.shape)
        return red_runtime(batch)

    network.name = "red"
    monkeypatch.setattr(evaluate, "open_runtime", lambda *how: opened.append(how) or network)
    monkeypatch.setattr(evaluate, "Detector", RedDetector)
    image, mask = np.full((128, 128, 3), 90, np.uint8), np.zeros((128, 128), np.uint8)
    image[32:96, 32:96], mask[32:96, 32:96] = (210, 100, 100), 255  # its probability is 0.62
    write_pairs(tmp_path, {"a": (image, mask)})
    how = ("--as-infer", "--size", 96, "--threshold", threshold, "--json", tmp_path / "j.json")
    red_is_face("--data", tmp_path, *how)
    assert opened[0][1:] == ("auto", "auto", "auto") and shapes == [(1, 3, 96, 96)] * 2
    assert json.loads((tmp_path / "j.json").read_text())["iou_mean"] == pytest.approx(part, abs=0.1)


@pytest.mark.parametrize("threshold, part", [(0.55, 1.0), (0.9, 0.0)])
def test_threshold_is_a_probability(threshold, part, tmp_path, red_is_face, capsys):
    image = np.full((32, 32, 3), 200, np.uint8)  # its logits are 1.3, a probability of 0.79
    write_pairs(tmp_path, {"a": (image, np.full((32, 32), 255, np.uint8))})
    red_is_face("--data", tmp_path, "--threshold", threshold, "--size", 32, "--json", tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["iou_mean"] == part


def test_size_is_what_the_weights_were_trained_at(known, tmp_path, red_is_face):
    write_weights(tmp_path / "w.safetensors", {"a": np.zeros(1)}, metadata={"size": "160"})
    for more, size in (((), 160), (("--size", 64), 64)):
        red_is_face("--data", known, "--weights", tmp_path / "w.safetensors", "--json", tmp_path / "a", *more)
        assert json.loads((tmp_path / "a").read_text())["size"] == size


def test_no_face_reports_what_is_marked(tmp_path, red_is_face, capsys):
    quarter = np.zeros((64, 64), bool)
    quarter[:32, :32] = True
    cv2.imwrite(str(tmp_path / "hill.png"), red_where(quarter)[..., ::-1])
    cv2.imwrite(str(tmp_path / "sea.jpg"), np.full((64, 64, 3), (255, 0, 0), np.uint8))  # BGR: blue
    red_is_face("--no-face", tmp_path, "--size", 64, "--json", tmp_path / "a.json")
    output = capsys.readouterr().out
    assert "12.500 % of the pixels on average over 2 pictures" in output
    assert f"most in {tmp_path / 'hill.png'}: 25.000 %" in output
    figures = json.loads((tmp_path / "a.json").read_text())
    assert (figures["images"], figures["marked_mean"], figures["marked_worst"]) == (2, 0.125, 0.25)
    assert (figures["no_face"], figures["flip"]) == (str(tmp_path), False)
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    red_is_face("--no-face", tmp_path, "--size", 64, "--skip-bad")
    captured = capsys.readouterr()
    assert "over 2 pictures" in captured.out and "1 bad pictures left out" in captured.err


def test_limit_spreads_over_the_split(tmp_path, red_is_face, capsys):
    image, mask = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
    write_pairs(tmp_path, {f"{'ab'[i // 5]}_{i}": (image, mask) for i in range(10)})
    red_is_face("--data", tmp_path, "--size", 32, "--limit", 4, "--groups")
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert rows[1:] == [["all", "4"], ["a", "2"], ["b", "2"]]


def test_names_without_an_underscore_are_one_group(tmp_path, red_is_face, capsys):
    image, mask = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8)
    write_pairs(tmp_path, {name: (image, mask) for name in ("000000", "000001", "a_1")})
    red_is_face("--data", tmp_path, "--size", 32, "--groups")
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert rows[1:] == [["all", "3"], ["a", "1"], ["others", "2"]]


def test_figures_are_written_even_if_the_picture_cannot_be(known, tmp_path, red_is_face, capsys):
    (tmp_path / "file").write_text("in the way")
    red_is_face(
        *("--data", known, "--size", 96, "--json", tmp_path / "out.json"),
        *("--worst", 1, "--worst-picture", tmp_path / "file" / "worst.png"),
        status=1,
    )
    assert "cannot write" in capsys.readouterr().err
    assert json.loads((tmp_path / "out.json").read_text())["images"] == 2


def test_skip_bad_counts_what_it_leaves_out(known, tmp_path, red_is_face, capsys):
    (known / "images" / "broken.png").write_bytes(b"no picture")
    cv2.imwrite(str(known / "masks" / "broken.png"), np.zeros((8, 8), np.uint8))
    cv2.imwrite(str(known / "images" / "alone.png"), np.zeros((8, 8, 3), np.uint8))
    red_is_face("--data", known, "--size", 96, "--skip-bad", "--json", tmp_path / "out.json")
    output = capsys.readouterr()
    assert json.loads((tmp_path / "out.json").read_text())["iou_mean"] == pytest.approx(13 / 24)
    assert "2 bad pairs left out" in output.err
    assert "broken.png" in output.err
    assert "alone.png" in output.err


def test_both_splits_with_random_weights(data, random_weights, tmp_path):
    output = tmp_path / "out.json"
    command = [sys.executable, ROOT / "evaluate.py", "--weights", random_weights, "--data", data]
    result = subprocess.run(
        [*command, "--size", "64", "--json", output], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    assert list(figures) == ["train", "test"]
    for split in figures.values():
        assert list(split) == KEYS
        assert split["images"] == 3
        assert all(0 <= split[key] <= 1 for key in KEYS[1:8])
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["train", "test"]
    assert "OneFlow: train 95.006, test 94.425" in result.stdout
    assert "OpenVINO f32 on CPU" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_one_split_and_both_runtimes(data, random_weights, tmp_path, run):
    figures = []
    for runtime in ("openvino", "oneflow"):
        arguments = ("--data", data, "--split", "test", "--size", "64", "--runtime", runtime)
        result = run("--weights", random_weights, *arguments, "--json", tmp_path / "out.json")
        assert result.returncode == 0, result.stderr
        assert "published" not in result.stdout
        figures.append(json.loads((tmp_path / "out.json").read_text()))
    assert list(figures[0]) == KEYS
    assert [figures[0][key] for key in KEYS[:8]] == pytest.approx(
        [figures[1][key] for key in KEYS[:8]], abs=1e-3
    )


def test_published_arrays_are_evaluated(tmp_path, red_is_face):
    faces = DemoFaces(2, size=64)
    np.save(tmp_path / "img_test.npy", np.stack([faces[i][0].transpose(2, 0, 1) for i in range(2)]))
    np.save(tmp_path / "mask_test.npy", np.stack([faces[i][1][None] // 255 for i in range(2)]))
    write_pairs(tmp_path / "same", {str(i): faces[i] for i in range(2)})
    measured = []
    for folder in (tmp_path, tmp_path / "same"):
        red_is_face("--data", folder, "--size", 64, "--json", tmp_path / "out.json")
        figures = json.loads((tmp_path / "out.json").read_text())
        measured.append([figures[key] for key in KEYS[: KEYS.index("data")]])
    assert measured[0] == measured[1]


def odd_mask(data):
    cv2.imwrite(str(data / "test" / "masks" / "a_1.png"), np.full((48, 40), 77, np.uint8))


def truncated_image(data):
    path = data / "test" / "images" / "a_1.png"
    path.write_bytes(path.read_bytes()[:200])


def missing_mask(data):
    (data / "test" / "masks" / "a_1.png").unlink()


@pytest.mark.parametrize(
    "spoil, words",
    [(odd_mask, ["77", "masks"]), (truncated_image, ["images"]), (missing_mask, ["no mask"])],
)
def test_bad_pair_is_named_and_no_file_is_written(spoil, words, tmp_path, run, red_is_face):
    faces = DemoFaces(3, size=48)
    write_pairs(tmp_path / "test", {f"a_{i}": (faces[i][0][:, :40], faces[i][1][:, :40]) for i in range(3)})
    spoil(tmp_path)
    (tmp_path / "out.json").write_text("of an earlier run")
    arguments = ("--data", tmp_path, "--size", 32, "--json", tmp_path / "out.json")
    result = run(*arguments)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert all(word in last for word in ["evaluate.py: ", "a_1.png", *words]), last
    assert (tmp_path / "out.json").read_text() == "of an earlier run"
    assert result.stdout == ""


def test_missing_things_are_named(data, random_weights, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, words in [
        ((), ["faceseg_data: no such folder", "`bash train.sh` downloads"]),
        (("--data", data, "--weights", "no.safetensors"), ["no.safetensors"]),
        (("--data", tmp_path, "--weights", random_weights), ["nor images and masks", str(tmp_path)]),
        (("--no-face", tmp_path / "none", "--weights", random_weights), ["none: no such folder"]),
        (("--no-face", tmp_path, "--weights", random_weights), ["holds no readable picture"]),
    ]:
        result = run(*arguments)
        assert result.returncode == 1
        assert all(word in result.stderr for word in words), result.stderr


def test_unwritable_file_is_an_error(data, tmp_path, run, red_is_face):
    (tmp_path / "file").write_text("")
    arguments = ("--data", data, "--split", "test", "--size", 32)
    result = run(*arguments, "--json", tmp_path / "file" / "out.json")
    assert result.returncode == 1
    assert "out.json" in result.stderr


@pytest.mark.parametrize(
    "option",
    [
        ("--size", "100"),
        ("--threshold", "1"),
        ("--limit", "0"),
        ("--worst", "-1"),
        ("--split", "val"),
        ("--worst-picture", "a.pdf"),
        ("--weights", ""),
        *(
            ("--groups", "--no-face", "."),
            ("--worst", "3", "--no-face", "."),
            ("--limit", "3", "--no-face", "."),
        ),
        *(("--split", "test", "--no-face", ".")),
    ],
)
def test_impossible_options_are_refused(option, run):
    result = run(*option)
    assert result.returncode == 2
    assert option[0] in result.stderr.splitlines()[-1]
