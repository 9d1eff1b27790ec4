"""What a training refuses, in words: options, data, places and checkpoints that do not go together."""

import os
import shutil
from dataclasses import replace

import numpy as np
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
    with pytest.raises(SystemExit):
        parse_arguments(["--sizes", "160:1", "--size", "224"])


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
        (["--seed", "9" * 25], "not a whole number from 0 to"),
        (["--weights", ""], "--weights is empty"),
        (["--demo"], "does not go with --data"),
        (["--weights", "a", "--backbone", "b"], "do not go with --backbone"),
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


def test_a_training_that_began_meanwhile_is_not_written_over(data, tmp_path, monkeypatch, run_here):
    begin = module.Training.__init__

    def slowly(self, *arguments):
        begin(self, *arguments)
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "last.safetensors").write_text("hours")

    monkeypatch.setattr(module.Training, "__init__", slowly)
    result = run_here(*options(data, tmp_path / "run"))
    assert result.returncode == 1 and "holds a training's last.safetensors" in result.stderr
    assert (tmp_path / "run" / "last.safetensors").read_text() == "hours"


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


def test_a_name_that_is_no_text_is_refused_or_left_out(tmp_path, run_here):
    write_pairs(tmp_path / "train", 14)
    for folder in ("images", "masks"):
        path = tmp_path / "train" / folder / "demo3.png"
        path.rename(path.with_name(os.fsdecode(b"demo\xff.png")))
    arguments = [*options(tmp_path, tmp_path / "run", "--val", "0", "--epochs", "1")]
    result = run_here(*arguments)
    assert result.returncode == 1 and "the name is not UTF-8" in result.stderr
    assert run_here(*arguments[:-2], "--skip-bad", "--output", str(tmp_path / "run2")).returncode == 0


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


@pytest.mark.parametrize("name", ["processes", "steps_in_an_epoch", "training_pictures"])
def test_a_checkpoint_from_other_circumstances_is_refused(data, checkpoint, name):
    resumed = resume(checkpoint)
    before = getattr(resumed.state.layout, name)
    setattr(resumed.state.layout, name, 99)
    with pytest.raises(UserError, match=f"{name.replace('_', ' ')} 99, here it is {before}"):
        module.Training(resumed.recipe, resumed)


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
    for changed, arguments, message in (
        ({"demo": True}, ["--data", "faces"], "--data faces does not go with --resume"),
        ({"kernels": "torch"}, ["--device", "cuda"], "does not go with --device cuda"),
    ):
        other = read_checkpoint(checkpoint)
        other.recipe = replace(other.recipe, **changed)
        write_checkpoint(checkpoint, other)
        with pytest.raises(UserError, match=message):
            resume(checkpoint, *arguments)


def test_resuming_refuses_other_pictures(data, checkpoint, tmp_path):
    shutil.copytree(data / "train", tmp_path / "train")
    for name in ("images", "masks"):  # as many, but one has another name: the split may be another
        (tmp_path / "train" / name / "demo3.png").rename(tmp_path / "train" / name / "else.png")
    resumed = resume(checkpoint, "--data", str(tmp_path))
    with pytest.raises(UserError, match="checksum of the names"):
        module.Training(resumed.recipe, resumed)


def test_resuming_refuses_tensors_of_another_type(checkpoint):
    damaged = read_checkpoint(checkpoint)
    damaged.tensors["model.last.bias"] = damaged.tensors["model.last.bias"].astype(np.float16)
    write_checkpoint(checkpoint, damaged)
    with pytest.raises(UserError, match=r"model\.last\.bias is float16 instead of float32"):
        resume(checkpoint)


def test_resuming_does_not_write_over_another_run(checkpoint):
    old = checkpoint.with_name("old.safetensors")
    shutil.copy(checkpoint, old)
    with pytest.raises(UserError, match=r"old\.safetensors would write over .*last\.safetensors"):
        resume(old)
    alone = checkpoint.parent / "alone" / "last.safetensors"
    alone.parent.mkdir()
    alone.symlink_to(checkpoint)
    assert resume(alone).recipe.output == str(alone.parent)


def test_two_trainings_do_not_share_a_folder(data, tmp_path, run_here):
    (tmp_path / "run").mkdir()
    train.lock(tmp_path / "run")  # this process is the other training
    result = run_here(*options(data, tmp_path / "run"))
    assert result.returncode == 1
    assert "another training is writing to" in result.stderr and "Traceback" not in result.stderr
    assert not list((tmp_path / "run").iterdir())


def test_resuming_takes_the_recipe_over_and_the_rest_from_here(data, checkpoint):
    recipe = resume(checkpoint, "--epochs", "2", "--workers", "3", "--output", str(checkpoint.parent)).recipe
    assert (recipe.epochs, recipe.workers, recipe.size, recipe.data) == (2, 3, 32, str(data))
    assert (
        resume(checkpoint, "--data", "faceseg_data").recipe.data == "faceseg_data"
    )  # the default, but named
    recipe = resume(checkpoint).recipe
    assert (recipe.workers, recipe.device) == (0, "cpu")  # no defaults


def test_kernels_for_a_cpu_do_not_go_with_a_gpu(data, tmp_path, run_here):
    result = run_here(*options(data, tmp_path / "run", "--kernels", "torch", "--device", "cuda"))
    assert result.returncode == 2 and "does not go with --device cuda" in result.stderr


def test_help_names_the_defaults(run_here):
    said = " ".join(run_here("--help").stdout.split())
    for default in ("faceseg_data", "0.998", "0", "oneflow"):
        assert f"(default: {default})" in said
