"""What a training refuses, in words: options, data, places and checkpoints that do not go together."""

import shutil

import pytest
from runs import options, resume, write_pairs

import train
from training import loop as module
from training.checkpoint import read_checkpoint, write_checkpoint
from training.options import parse_arguments
from utils import UserError, import_oneflow

flow = import_oneflow()

pytestmark = pytest.mark.usefixtures("small")


@pytest.mark.parametrize("text", ["160", "160:0.5", "100:1", "160:0.5,224:x", "160:2,224:-1", "", "160:nan"])
def test_sizes_that_cannot_be_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        parse_arguments([f"--sizes={text}"])
    assert "--sizes" in capsys.readouterr().err
    for more in (["--size", "224"], ["--graph"]):
        with pytest.raises(SystemExit):
            parse_arguments(["--sizes", "160:1", *more])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--data", "nowhere"], "nowhere"),
        (["--size", "100"], "multiple of 32"),
        (["--resume", "nothing.safetensors"], "nothing.safetensors"),
        (["--weights", "nothing.safetensors"], "nothing.safetensors"),
        (["--device", "cuda"], "GPU"),
        (["--batch-size", "400"], "--batch-size"),
        (["--epochs", "0"], "--epochs"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "9" * 25], "no whole number from 0 to"),
        (["--weights", ""], "--weights is empty"),
        (["--demo"], "goes without --data"),
        (["--weights", "a", "--backbone", "b"], "go without --backbone"),
        (["--graph", "--minutes", "1"], "without --sizes and --minutes"),
        (["--epoch", "1"], "--epoch"),  # no abbreviations: train.sh does not know them
    ],
)
def test_bad_arguments_are_explained(data, tmp_path, arguments, message, run_here):
    if "cuda" in arguments and flow.cuda.is_available():
        pytest.skip("there is a GPU here")
    result = run_here(*options(data, tmp_path / "run"), *arguments)
    assert result.returncode in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_bad_picture_is_named_and_can_be_skipped(tmp_path, run_here):
    write_pairs(tmp_path / "train", 14)
    bad = tmp_path / "train" / "images" / "demo3.png"
    bad.write_bytes(bad.read_bytes()[:200])
    result = run_here(*options(tmp_path, tmp_path / "run", "--workers", "1", "--val", "0"))
    assert result.returncode == 1
    assert "demo3.png" in result.stderr
    assert "Traceback" not in result.stderr
    result = run_here(*options(tmp_path, tmp_path / "again", "--val", "0", "--skip-bad", "--epochs", "1"))
    assert result.returncode == 0, result.stderr
    assert "1 bad" in result.stderr


def test_pictures_that_are_all_held_out_are_no_matter_of_the_batch(tmp_path, run_here):
    write_pairs(tmp_path / "train", 1)
    result = run_here(*options(tmp_path, tmp_path / "run", "--batch-size", "1"))
    assert result.returncode == 1
    assert "all 1 pictures are kept for validation; use a smaller --val" in result.stderr


def test_nothing_left_without_the_bad_is_said(tmp_path, run_here):
    write_pairs(tmp_path / "train", 3)
    for path in (tmp_path / "train" / "masks").iterdir():
        path.write_bytes(b"no mask")
    result = run_here(*options(tmp_path, tmp_path / "run", "--skip-bad"))
    assert result.returncode == 1
    assert f"no picture of {tmp_path} is left" in result.stderr


def test_a_checkpoint_from_other_circumstances_is_refused(data, checkpoint):
    tensors, state = read_checkpoint(checkpoint)
    args = resume(checkpoint)
    for name, value in (("processes", 2), ("steps in an epoch", 99), ("kind of step", "GraphStep")):
        name = next(key for key in state if name in key)
        with pytest.raises(UserError, match=f"{name} {value}, here it is {state[name]}"):
            module.Training(args, tensors, {**state, name: value})


@pytest.mark.parametrize("name", train.WRITTEN)
def test_an_earlier_training_is_not_written_over(data, tmp_path, name, run_here):
    (tmp_path / name).write_bytes(b"hours of work")
    result = run_here(*options(data, tmp_path))
    assert result.returncode == 1
    assert ("--resume" in result.stderr) == (name == "last.safetensors")
    assert "another --output" in result.stderr
    assert "Traceback" not in result.stderr
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"hours of work")]


@pytest.mark.parametrize("place", ["a file", "a file/run"])
def test_a_place_that_cannot_be_written_is_refused_at_once(data, tmp_path, place, run_here):
    (tmp_path / "a file").write_text("in the way")
    result = run_here(*options(data, tmp_path / place, "--epochs", "1000"))
    assert result.returncode == 1
    assert f"cannot write to {tmp_path / place}" in result.stderr and "another --output" in result.stderr
    assert "Traceback" not in result.stderr
    assert "epochs of" not in result.stdout  # it has not begun


def test_resuming_refuses_another_recipe(checkpoint):
    for name, value, before in (("epochs", 9, 2), ("epochs", 40, 2), ("size", 256, 32)):  # 40, 256: defaults
        with pytest.raises(
            UserError, match=rf"--{name} {value} does not go with --resume.*\(with {before}\)"
        ):
            resume(checkpoint, f"--{name}", str(value))
    with pytest.raises(UserError, match="--output elsewhere does not go with --resume"):
        resume(checkpoint, "--output", "elsewhere")
    with pytest.raises(UserError, match=r"--no-face hills does not go .*\(without\)"):
        resume(checkpoint, "--no-face", "hills")
    tensors, state = read_checkpoint(checkpoint)
    del state["options"]["no_face"]  # as written before the option was there
    write_checkpoint(checkpoint, tensors, state)
    with pytest.raises(UserError, match=r"--no-face hills does not go .*\(without\)"):
        resume(checkpoint, "--no-face", "hills")
    for changed, arguments in (
        ({"demo": True}, ["--data", "faces"]),
        ({"kernels": "torch"}, ["--device", "cuda"]),
    ):
        write_checkpoint(checkpoint, tensors, {**state, "options": {**state["options"], **changed}})
        with pytest.raises(UserError, match=f"{' '.join(arguments)} does not go with --resume"):
            resume(checkpoint, *arguments)
    del state["options"]
    write_checkpoint(checkpoint, tensors, state)
    with pytest.raises(UserError, match=r"no checkpoint of this train\.py: it has no options"):
        resume(checkpoint)


def test_resuming_refuses_other_pictures(data, checkpoint, tmp_path):
    shutil.copytree(data / "train", tmp_path / "train")
    for name in ("images", "masks"):  # as many, but one has another name: the split may be another
        (tmp_path / "train" / name / "demo3.png").rename(tmp_path / "train" / name / "else.png")
    tensors, state = read_checkpoint(checkpoint)
    with pytest.raises(UserError, match="checksum of the pictures' names"):
        module.Training(resume(checkpoint, "--data", str(tmp_path)), tensors, state)


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"step": 1.5},
        {"step": None},
        {"step": 10**30},
        {"seconds": float("nan")},
        {"epoch_sums": [1.0, 2.0]},
        {"epoch_sums": "abc"},
        {"best_iou": [1]},
        {"log": None},
        {"log": [3]},
        {"log": [{"step": 99}]},
        {"log": [{"step": "x"}]},
        {"options": []},
        {"options": {"lr": float("nan")}},
        {"options": {"size": 33}},
        {"options": {"sizes": [[1, 2]]}},
    ],
)
def test_damaged_numbers_of_a_checkpoint_are_named(checkpoint, change):
    tensors, state = read_checkpoint(checkpoint)
    write_checkpoint(checkpoint, tensors, {**state, **change})
    with pytest.raises(UserError, match=r"last\.safetensors is no checkpoint of this train\.py"):
        resume(checkpoint)


def test_resuming_does_not_write_over_another_run(checkpoint):
    old = checkpoint.with_name("old.safetensors")
    shutil.copy(checkpoint, old)
    with pytest.raises(UserError, match=r"old\.safetensors would write over .*last\.safetensors"):
        resume(old)
    alone = checkpoint.parent / "alone" / "last.safetensors"
    alone.parent.mkdir()
    alone.symlink_to(checkpoint)
    assert resume(alone).output == str(alone.parent)


def test_two_trainings_do_not_share_a_folder(data, tmp_path, run_here):
    (tmp_path / "run").mkdir()
    train.lock(tmp_path / "run")  # this process is the other training
    result = run_here(*options(data, tmp_path / "run"))
    assert result.returncode == 1
    assert "another training is writing to" in result.stderr and "Traceback" not in result.stderr
    assert not list((tmp_path / "run").iterdir())


def test_resuming_takes_the_recipe_over_and_the_rest_from_here(data, checkpoint):
    args = resume(checkpoint, "--epochs", "2", "--workers", "3", "--output", str(checkpoint.parent))
    assert (args.epochs, args.workers, args.size, args.data) == (2, 3, 32, str(data))
    assert resume(checkpoint, "--data", "faceseg_data").data == "faceseg_data"  # moved: the default's name
    args = resume(checkpoint)
    assert (args.workers, args.device) == (0, "cpu")  # no defaults


def test_kernels_that_cannot_be_are_refused(data, tmp_path, run_here):
    for more, reason in (
        (("--graph",), "without --graph"),
        (("--device", "cuda"), "without --graph and cuda"),
    ):
        result = run_here(*options(data, tmp_path / "run", "--kernels", "torch", *more))
        assert result.returncode == 2 and reason in result.stderr
