"""The loop: resuming is exact, sizes and minutes hold, what is trained and validated on."""

import csv
import shutil
import signal
import threading
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from runs import options, resume, train_here

from training import loop as module
from training import processes
from training.checkpoint import read_checkpoint, write_checkpoint
from training.examples import open_pairs
from training.networks import to_arrays, update_average
from training.options import parse_arguments
from utils import UserError, import_oneflow

flow = import_oneflow()

pytestmark = pytest.mark.usefixtures("small")

RECIPE = ("--sizes", "32:0.5,64:0.5", "--balance", "--gentle", "0.5")


def sized(data, output, *more):
    """Options for six steps, of which the last three are at another size."""
    found = options(data, output, *RECIPE, *more)
    place = found.index("--size")
    return found[:place] + found[place + 2 :]


@pytest.fixture(scope="module")
def uninterrupted(small, data, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    assert train_here(sized(data, output)) == 0
    return read_checkpoint(output / "last.safetensors")


@pytest.mark.parametrize("stop_at", [2, 3, 4])  # in an epoch of three steps, at its end, and in the next
def test_resumed_training_is_the_same_to_the_last_bit(data, tmp_path, uninterrupted, stop_at):
    assert train_here(sized(data, tmp_path), stop_at) == 128 + signal.SIGTERM
    assert read_checkpoint(tmp_path / "last.safetensors").state.step == stop_at
    assert train_here(["--resume", str(tmp_path / "last.safetensors"), "--workers", "2"]) == 0
    resumed, whole = read_checkpoint(tmp_path / "last.safetensors"), uninterrupted
    assert resumed.tensors.keys() == whole.tensors.keys()
    different = [n for n, array in whole.tensors.items() if not np.array_equal(resumed.tensors[n], array)]
    assert different == []
    assert resumed.state.log == whole.state.log
    assert len(whole.state.log) == 2
    assert not [thread for thread in threading.enumerate() if "loader" in thread.name]


def test_a_signal_that_comes_while_nobody_is_found_to_stop_is_remembered(monkeypatch):
    stop = processes.StopRequest()

    class Nobody:
        """The sum of the requests: when it is looked at, a signal comes."""

        def __gt__(self, other):
            return self

        def __bool__(self):
            stop.remember(signal.SIGINT, None)
            return False

    monkeypatch.setattr(processes, "sum_over_processes", lambda values, device: [Nobody()])
    stop.made(flow.device("cpu"))
    assert stop.signal == signal.SIGINT


@pytest.fixture
def steps(monkeypatch):
    """What the steps of a training were given: (learning rate, size)."""
    given, do_step = [], module.Step.__call__

    def note(self, image, mask, lr):
        given.append((lr, image.shape[2]))
        return do_step(self, image, mask, lr)

    monkeypatch.setattr(module.Step, "__call__", note)
    return given


def test_sizes_follow_one_another_in_one_schedule_and_its_end_is_gentle(data, tmp_path, steps, monkeypatch):
    gentle, read = {}, module.TrainExamples.read

    def note(self, item, size, is_gentle):
        gentle.setdefault(size, set()).add(is_gentle)
        return read(self, item, size, is_gentle)

    monkeypatch.setattr(module.TrainExamples, "read", note)
    assert train_here(sized(data, tmp_path, "--workers", "1")) == 0
    assert [size for _, size in steps] == [32, 32, 32, 64, 64, 64]
    assert gentle == {32: {False}, 64: {True}}


@pytest.mark.parametrize(
    "progress, size", [(0, 96), (0.2499, 96), (0.25, 64), (0.7499, 64), (0.75, 32), (1, 32)]
)
def test_size_at(progress, size):
    assert parse_arguments(["--sizes", "96:0.25,64:0.5,32:0.25"]).size_at(progress) == size
    assert parse_arguments(["--size", "96"]).size_at(progress) == 96


def test_minutes_end_the_schedule_in_time(data, tmp_path, steps, monkeypatch):
    """Ten seconds for each step: of two minutes, twelve; in two parts, the clock goes on where it stopped."""
    later = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: later[0] + 10.0 * len(steps)))
    arguments = sized(data, tmp_path, "--minutes", "2", "--warmup", "1", "--lr", "1e-3")
    assert train_here(arguments, stop_at=5) == 128 + signal.SIGTERM
    assert read_checkpoint(tmp_path / "last.safetensors").state.seconds == 50
    later[0] = 1e6
    assert train_here(["--resume", str(tmp_path / "last.safetensors")]) == 0
    assert len(steps) == 12
    assert [size for _, size in steps] == [32] * 6 + [64] * 6
    expected = [1e-3 * (0.01 + 0.99 * (1 + np.cos(np.pi * part / 12)) / 2) for part in range(12)]
    assert [rate for rate, _ in steps] == pytest.approx(expected)


def test_results_depend_on_the_seed(data, tmp_path, uninterrupted):
    assert train_here(sized(data, tmp_path, "--seed", "1"), stop_at=1) > 128
    other, name = read_checkpoint(tmp_path / "last.safetensors"), "model.firstconv.weight"
    assert not np.array_equal(other.tensors[name], uninterrupted.tensors[name])


def test_run_writes_log_curves_and_weights(data, tmp_path, run_here):
    result = run_here(*options(data, tmp_path / "run"))
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        *("best.safetensors", "curves.png", "last.safetensors", "log.csv")
    ]
    with open(tmp_path / "run" / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(0 <= float(row["val_iou"]) <= 1 and float(row["loss"]) > 0 for row in rows)
    assert cv2.imread(str(tmp_path / "run" / "curves.png")).shape[0] > 100


def test_balance_shows_a_small_group_more_often(data, tmp_path):
    shutil.copytree(data / "train", tmp_path / "train")
    for number in (2, 3):
        for path in (tmp_path / "train").glob(f"*/demo{number}.png"):
            path.rename(path.with_name(f"few_{number}.png"))
    for more, times in (((), 1), (("--balance",), 2)):
        args = parse_arguments(options(tmp_path, tmp_path / "run", "--val", "0", *more))
        pairs, train_indices, _, _ = open_pairs(args)
        few = [index for index, name in enumerate(pairs.names) if name.startswith("few_")]
        assert [train_indices.tolist().count(index) for index in few] == [times, times]
        assert len(train_indices) == 14 + 2 * (times - 1)


@pytest.fixture
def landscapes(tmp_path):
    """Five pictures of 60x50 without a face."""
    folder = tmp_path / "landscapes"
    folder.mkdir()
    for index in range(5):
        cv2.imwrite(str(folder / f"view{index}.png"), np.full((50, 60, 3), 40 * index, np.uint8))
    return folder


def test_pictures_without_a_face_are_trained_on_and_not_validated_on(data, landscapes, tmp_path):
    arguments = options(data, tmp_path / "run", "--no-face", str(landscapes))
    _, train_indices, without_face, val_indices = open_pairs(parse_arguments(arguments))
    _, plain_train, none, plain_val = open_pairs(parse_arguments(options(data, tmp_path / "run")))
    assert (without_face.tolist(), none.tolist()) == ([14, 15, 16, 17, 18], [])
    assert train_indices.tolist() == plain_train.tolist()
    assert val_indices.tolist() == plain_val.tolist()
    assert train_here(arguments, stop_at=1) > 128
    last = tmp_path / "run" / "last.safetensors"
    assert read_checkpoint(last).state.layout.training_pictures == 12 + 1  # a fiftieth
    moved = landscapes.rename(tmp_path / "moved")
    assert resume(last, "--no-face", str(moved)).recipe.no_face == str(moved)


def test_bad_pictures_without_a_face_are_named_or_left_out(data, landscapes, tmp_path, capsys, run_here):
    (landscapes / "view2.png").write_bytes(b"no picture")
    arguments = options(data, tmp_path / "run", "--no-face", str(landscapes), "--skip-bad")
    _, _, without_face, _ = open_pairs(parse_arguments(arguments))
    assert without_face.tolist() == [14, 15, 17, 18]
    assert "view2.png" in capsys.readouterr().err
    result = run_here(*options(data, tmp_path / "run", "--no-face", str(landscapes)))
    assert result.returncode == 1
    assert "view2.png" in result.stderr and "Traceback" not in result.stderr
    for folder, words in ((tmp_path / "none", "no such folder"), (data, "--no-face names a folder")):
        with pytest.raises(UserError, match=words):
            open_pairs(parse_arguments(options(data, tmp_path / "run", "--no-face", str(folder))))


def test_validation_runs_in_evaluation_mode_on_the_averaged_weights(data, tmp_path):
    args = parse_arguments(options(data, tmp_path, "--val", "0.5"))
    training = module.Training(args)
    before = to_arrays(training.average)
    first = training.validate()
    assert not training.average.training
    assert training.validate() == first
    after = to_arrays(training.average)
    assert all(np.array_equal(before[name], after[name]) for name in before)  # batch statistics too


def test_average_follows_its_formula(data, tmp_path):
    args = parse_arguments(options(data, tmp_path))
    training = module.Training(args)
    old = to_arrays(training.average)
    image, mask = flow.randn(4, 3, 32, 32), flow.zeros(4, 1, 32, 32).to(flow.uint8)
    training.step(image, mask, 0.01)
    new = to_arrays(training.model)
    update_average(training.average, training.model, 0.75)
    average = to_arrays(training.average)
    for name in ("firstconv.weight", "norm.running_var", "last.bias"):
        np.testing.assert_allclose(average[name], 0.75 * old[name] + 0.25 * new[name], rtol=1e-5, atol=1e-7)


def test_the_average_soon_forgets_the_first_weights(data, tmp_path, monkeypatch):
    decays = []
    monkeypatch.setattr(module, "update_average", lambda average, model, decay: decays.append(decay))
    train_here(options(data, tmp_path, "--ema", "0.2"))
    assert decays[:4] == pytest.approx([1 / 10, 2 / 11, 0.2, 0.2])


def test_a_checkpoint_resumed_elsewhere_has_its_best_there_too(checkpoint, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    changed = read_checkpoint(checkpoint)
    changed.state.best_iou = 1.0
    write_checkpoint(tmp_path / "elsewhere" / "last.safetensors", changed)
    assert train_here(["--resume", str(tmp_path / "elsewhere" / "last.safetensors")]) == 0
    assert (tmp_path / "elsewhere" / "best.safetensors").exists()
    assert "it holds the newest weights now" in capsys.readouterr().out
    (tmp_path / "later").mkdir()  # it has ended, and is resumed once more in another folder
    shutil.copy(tmp_path / "elsewhere" / "last.safetensors", tmp_path / "later")
    assert train_here(["--resume", str(tmp_path / "later" / "last.safetensors")]) == 0
    assert sorted(path.name for path in (tmp_path / "later").iterdir()) == [
        *("best.safetensors", "curves.png", "last.safetensors", "log.csv")
    ]


def test_the_last_checkpoint_is_written_after_what_belongs_to_it(data, tmp_path, monkeypatch):
    """Killed in between, a training does the epoch again; it never takes itself for complete."""

    def save(self, name):
        if name == "last.safetensors":
            raise KeyboardInterrupt
        (self.output / name).touch()

    monkeypatch.setattr(module.Training, "save", save)
    with pytest.raises(KeyboardInterrupt):
        train_here(options(data, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", "curves.png", "log.csv"]


def test_weights_that_no_epoch_beats_stay_the_best_and_that_is_no_success(
    data, stopped, tmp_path, capsys, caplog, monkeypatch
):
    start = stopped / "last.safetensors"
    found = iter([0.5, 0.4, 0.5])  # the start's, and two epochs'
    monkeypatch.setattr(module.Training, "validate", lambda self: next(found))
    assert train_here(options(data, tmp_path, "--weights", str(start), "--lr", "0.01")) == 1
    assert "the weights to start from: val_iou 0.5" in capsys.readouterr().out.splitlines()[1]
    assert "no epoch was better" in caplog.text and "--lr 0.001" in caplog.text
    best, given = read_checkpoint(tmp_path / "best.safetensors"), read_checkpoint(start)
    assert np.array_equal(best.tensors["ema.last.bias"], given.tensors["ema.last.bias"])
    assert len(read_checkpoint(tmp_path / "last.safetensors").state.log) == 2


def test_weights_are_beaten_by_a_better_epoch(data, stopped, tmp_path, monkeypatch):
    found = iter([0.5, 0.6, 0.4])
    monkeypatch.setattr(module.Training, "validate", lambda self: next(found))
    assert train_here(options(data, tmp_path, "--weights", str(stopped / "last.safetensors"))) == 0
    best = read_checkpoint(tmp_path / "best.safetensors").state
    assert (best.start_iou, best.best_iou, len(best.log)) == (0.5, 0.6, 1)


def test_a_training_that_diverges_ends_with_a_rate_to_try(data, tmp_path, steps, monkeypatch, caplog):
    do_step = module.Step.__call__

    def explode(self, image, mask, lr):
        loss, logits = do_step(self, image, mask, lr)
        return loss * (1 if len(steps) == 1 else 1000), logits

    monkeypatch.setattr(module.Step, "__call__", explode)
    assert train_here(options(data, tmp_path, "--lr", "1")) == 1
    assert "the training diverged, from a loss of " in caplog.text and "--lr 0.1" in caplog.text
    assert len(read_checkpoint(tmp_path / "last.safetensors").state.log) == 1  # it ended there


def test_a_loss_that_is_no_number_ends_it_in_words_and_is_not_kept(data, tmp_path, monkeypatch):
    do_step = module.Step.__call__
    lost = lambda self, *how: [each * float("nan") for each in do_step(self, *how)]  # noqa: E731
    monkeypatch.setattr(module.Step, "__call__", lost)
    with pytest.raises(UserError, match="the loss became nan at step 0; try a lower --lr"):
        train_here(options(data, tmp_path))
    assert not (tmp_path / "last.safetensors").exists()


def test_what_a_killed_run_left_is_removed(data, tmp_path):
    left = tmp_path / ".tmp-12345-abcdef01.safetensors"
    left.write_bytes(b"half of a checkpoint")
    assert train_here(options(data, tmp_path), stop_at=1) > 128
    assert [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]


def test_a_full_disk_in_the_middle_of_an_epoch_ends_in_words(data, tmp_path, run_here, monkeypatch):
    def full(path, checkpoint):
        assert checkpoint.state.step == 1
        raise OSError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(module, "write_checkpoint", full)
    result = run_here(*options(data, tmp_path / "run", "--save-minutes", "0", "--workers", "2"))
    assert result.returncode == 1
    message = f"train.py: cannot write {tmp_path / 'run' / 'last.safetensors'}: No space left on device"
    assert result.stderr.splitlines()[-1] == message
    assert not [thread for thread in threading.enumerate() if "loader" in thread.name]
