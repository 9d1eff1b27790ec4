"""Training end to end: resuming is exact, several processes agree with one, stops and faults are orderly."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

import train
from quiet import flow
from runtimes.network import check_linknet34
from runtimes.weights import read_weights
from training import loop as module
from training.checkpoint import read_checkpoint, write_checkpoint
from training.demo import DemoFaces
from training.launch import free_port
from training.options import given_options, parse_arguments
from utils import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Fourteen generated pictures of 48x40 in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("some faces")
    write_pairs(folder / "train", 14)
    return folder


def write_pairs(folder, count):
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    pairs = DemoFaces(count, size=48, seed=3)
    for name, (image, mask) in zip(pairs.names, pairs):
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image[:, :40, ::-1])
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask[:, :40])


def options(data, output, *more):
    return [
        *("--data", str(data), "--output", str(output), "--size", "32", "--batch-size", "4", "--epochs", "2"),
        *("--val", "0.15", "--workers", "0", "--device", "cpu", *more),
    ]


def command(*arguments):
    return [sys.executable, str(ROOT / "train.py"), *arguments]


def run(*arguments, **more):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300, **more)


def train_here(arguments, stop_at=None):
    args = parse_arguments(arguments)
    tensors, state = train.take_up(args, given_options(arguments)) if args.resume else ({}, None)
    training = module.Training(args, tensors, state)
    if stop_at is not None:
        training.stop.made = lambda device: training.state["step"] == stop_at
        training.stop.signal = signal.SIGTERM
    return training.run()


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole")
    assert train_here(options(data, output)) == 0
    return read_checkpoint(output / "last.safetensors")


@pytest.mark.parametrize("stop_at", [2, 3, 4])  # in an epoch of three steps, at its end, and in the next
def test_resumed_training_is_the_same_to_the_last_bit(data, tmp_path, uninterrupted, stop_at):
    assert train_here(options(data, tmp_path), stop_at) == 128 + signal.SIGTERM
    assert read_checkpoint(tmp_path / "last.safetensors")[1]["step"] == stop_at
    assert train_here(["--resume", str(tmp_path / "last.safetensors"), "--workers", "2"]) == 0
    tensors, state = read_checkpoint(tmp_path / "last.safetensors")
    whole, whole_state = uninterrupted
    assert tensors.keys() == whole.keys()
    different = [name for name in whole if not np.array_equal(tensors[name], whole[name])]
    assert different == []
    assert state["log"] == whole_state["log"]
    assert len(state["log"]) == 2


def test_results_depend_on_the_seed(data, tmp_path, uninterrupted):
    assert train_here(options(data, tmp_path, "--seed", "1")) == 0
    tensors, _ = read_checkpoint(tmp_path / "last.safetensors")
    assert not np.array_equal(tensors["model.firstconv.weight"], uninterrupted[0]["model.firstconv.weight"])


def test_run_writes_log_curves_and_weights(data, tmp_path):
    result = run(*options(data, tmp_path / "run"))
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
    check_linknet34(read_weights(tmp_path / "run" / "best.safetensors"))


def test_the_last_epochs_are_gentle(data, tmp_path):
    training = module.Training(parse_arguments(options(data, tmp_path, "--gentle-epochs", "1")), {}, None)
    gentle = []
    for epoch in range(2):
        training.load_epoch(epoch, 0)
        gentle.append(training.examples.gentle)
    assert gentle == [False, True]


def test_repeat_shows_a_group_more_often(data, tmp_path):
    def start(*more):
        return module.Training(parse_arguments(options(tmp_path, tmp_path / "run", *more)), {}, None)

    shutil.copytree(data / "train", tmp_path / "train")
    for path in (tmp_path / "train").glob("*/demo?.png"):  # ten of the fourteen
        path.rename(path.with_name(path.name.replace("demo", "few_")))
    once, thrice = start(), start("--repeat", "few=3")
    assert len(thrice.validation) == len(once.validation) == 2
    held_out = [once.validation.pairs.names[index] for index in once.validation.indices]
    few = 10 - sum(name.startswith("few_") for name in held_out)
    assert len(once.examples) == 12
    assert len(thrice.examples) == 12 + 2 * few
    with pytest.raises(UserError, match="starts with celeb_, which --repeat names"):
        start("--repeat", "celeb=2")


@pytest.mark.parametrize("text", ["celeb", "celeb=", "=2", "celeb=0", "celeb=-1", "celeb=1.5"])
def test_repeat_that_cannot_be_read_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        parse_arguments([f"--repeat={text}"])
    assert f"--repeat {text}: it must be GROUP=TIMES" in capsys.readouterr().err


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
    _, train_indices, val_indices = module.open_pairs(parse_arguments(arguments))
    _, plain_train, plain_val = module.open_pairs(parse_arguments(options(data, tmp_path / "run")))
    assert train_indices.tolist() == [*plain_train, 14, 15, 16, 17, 18]
    assert val_indices.tolist() == plain_val.tolist()
    assert train_here(arguments) == 0
    state = read_checkpoint(tmp_path / "run" / "last.safetensors")[1]
    assert state["step"] == 2 * ((12 + 5) // 4)
    moved = landscapes.rename(tmp_path / "moved")
    resumed = parse_arguments(
        ["--resume", str(tmp_path / "run" / "last.safetensors"), "--no-face", str(moved)]
    )
    train.take_up(resumed, {"no_face": str(moved)})
    assert resumed.no_face == str(moved)


def test_bad_pictures_without_a_face_are_named_or_left_out(data, landscapes, tmp_path, capsys):
    (landscapes / "view2.png").write_bytes(b"no picture")
    arguments = options(data, tmp_path / "run", "--no-face", str(landscapes), "--skip-bad")
    _, train_indices, _ = module.open_pairs(parse_arguments(arguments))
    assert train_indices.tolist()[-4:] == [14, 15, 17, 18]
    assert "view2.png" in capsys.readouterr().err
    result = run(*options(data, tmp_path / "run", "--no-face", str(landscapes)))
    assert result.returncode == 1
    assert "view2.png" in result.stderr and "Traceback" not in result.stderr
    for folder, message in ((tmp_path / "none", "no such folder"), (data, "there is no picture")):
        with pytest.raises(UserError, match=f"{message}.*; --no-face names"):
            module.open_pairs(parse_arguments(options(data, tmp_path / "run", "--no-face", str(folder))))


def test_validation_runs_in_evaluation_mode_on_the_averaged_weights(data, tmp_path):
    args = parse_arguments(options(data, tmp_path, "--val", "0.5"))
    training = module.Training(args, {}, None)
    before = module.to_arrays(training.average)
    first = training.validate()
    assert not training.average.training
    assert training.validate() == first
    after = module.to_arrays(training.average)
    assert all(np.array_equal(before[name], after[name]) for name in before)  # batch statistics too


def test_average_follows_its_formula(data, tmp_path):
    args = parse_arguments(options(data, tmp_path))
    training = module.Training(args, {}, None)
    old = module.to_arrays(training.average)
    image, mask = flow.randn(4, 3, 32, 32), flow.zeros(4, 1, 32, 32).to(flow.uint8)
    training.step(image, mask)
    new = module.to_arrays(training.model)
    module.update_average(training.average, training.model, 0.75)
    average = module.to_arrays(training.average)
    for name in ("firstconv.weight", "encoder3.1.bn2.running_var", "finalconv3.bias"):
        np.testing.assert_allclose(average[name], 0.75 * old[name] + 0.25 * new[name], rtol=1e-5, atol=1e-7)


def test_two_processes_equal_one_with_the_double_batch(data, tmp_path):
    """Batch norm aside: its statistics are those of each process's own part, so here it keeps still."""
    script = tmp_path / "two.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "import numpy as np\n"
        "import training as module\n"
        "from training.options import parse_arguments\n"
        "from quiet import flow\n"
        "rng = np.random.default_rng(0)\n"
        "image = rng.standard_normal((4, 3, 32, 32)).astype(np.float32)\n"
        "mask = rng.choice([0, 128, 255], (4, 1, 32, 32)).astype(np.uint8)\n"
        "rank, world = flow.env.get_rank(), flow.env.get_world_size()\n"
        "mine = slice(4 // world * rank, 4 // world * (rank + 1))\n"
        "flow.manual_seed(rank)\n"  # rank 0's weights must reach the other
        "model = module.LinkNet34()\n"
        "model.eval()\n"
        "args = parse_arguments(['--optimizer', 'sgd', '--lr', '0.1', '--warmup', '1'])\n"
        "step = module.make_step(model, args, 10, flow.device('cpu'), world)\n"
        "for _ in range(2):\n"
        "    step(flow.tensor(image[mine]), flow.tensor(mask[mine]))\n"
        "np.savez(sys.argv[1] + str(rank), **module.to_arrays(model))\n"
    )
    launch = ["-m", "oneflow.distributed.launch", "--nproc_per_node", "2", "--master_port", str(free_port())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for arguments in (
        [str(script), str(tmp_path / "one")],
        [*launch, str(script), str(tmp_path / "two")],
    ):
        subprocess.run([sys.executable, *arguments], check=True, timeout=240, env=environment, cwd=tmp_path)
    one, first, second = (np.load(tmp_path / f"{name}.npz") for name in ("one0", "two0", "two1"))
    flow.manual_seed(0)
    start = module.to_arrays(module.LinkNet34())
    for name in one.files:
        assert np.array_equal(first[name], second[name]), name
        moved = np.abs(one[name] - start[name]).max()
        assert np.abs(first[name] - one[name]).max() <= 1e-3 * moved + 1e-7, name
    assert np.abs(one["firstconv.weight"] - start["firstconv.weight"]).max() > 1e-5


def test_kernels_that_cannot_be_are_refused(data, tmp_path, monkeypatch):
    for more, reason in (
        (("--graph",), "without --graph"),
        (("--device", "cuda"), "without --graph and cuda"),
    ):
        result = run(*options(data, tmp_path / "run", "--kernels", "torch", *more))
        assert result.returncode == 2 and reason in result.stderr
    args = parse_arguments(options(data, tmp_path / "run", "--kernels", "torch"))
    monkeypatch.setattr(module, "choose_device", lambda wanted: flow.device("cuda", 0))
    with pytest.raises(UserError, match="add --device cpu"):
        module.Training(args, {}, None)


def test_kernels_that_are_not_installed_are_named(data, tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch here')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = run(*options(data, tmp_path / "run", "--kernels", "torch"), env=environment)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "train.py: --kernels torch needs PyTorch (no torch here): `bash setup.sh torch` installs it"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_finishes_the_step_and_writes_a_checkpoint(data, tmp_path, number):
    arguments = options(data, tmp_path / "run", "--epochs", "500", "--workers", "1")
    with open(tmp_path / "err", "w") as stderr:
        process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True
        )
    wait_for(lambda: "loss=" in (tmp_path / "err").read_text(), process)
    os.killpg(process.pid, number)  # as a terminal does: the loader processes get it too
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "--resume" in output
    assert "Traceback" not in (tmp_path / "err").read_text()
    assert read_checkpoint(tmp_path / "run" / "last.safetensors")[1]["step"] > 0


def wait_for(condition, process, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the training ended by itself"
        assert time.monotonic() < end, "the training did not start"
        time.sleep(0.1)


def test_demo_needs_no_data(tmp_path):
    small = ("--size", "32", "--epochs", "1", "--batch-size", "30", "--output", str(tmp_path))
    result = run("--demo", *small, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(read_checkpoint(tmp_path / "best.safetensors")[1]["log"]) == 1


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
        (["--seed", "9" * 25], "below 2**63"),
        (["--weights", ""], "--weights is empty"),
        (["--demo"], "goes without --data"),
        (["--weights", "a", "--backbone", "b"], "go without --backbone"),
        (["--epoch", "1"], "--epoch"),  # no abbreviations: train.sh does not know them
    ],
)
def test_bad_arguments_are_explained(data, tmp_path, arguments, message):
    if "cuda" in arguments and flow.cuda.is_available():
        pytest.skip("there is a GPU here")
    result = run(*options(data, tmp_path / "run"), *arguments, cwd=tmp_path)
    assert result.returncode not in (0, -signal.SIGABRT)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_bad_picture_is_named_and_can_be_skipped(tmp_path):
    write_pairs(tmp_path / "train", 14)
    bad = tmp_path / "train" / "images" / "demo3.png"
    bad.write_bytes(bad.read_bytes()[:200])
    result = run(*options(tmp_path, tmp_path / "run", "--workers", "1", "--val", "0"))
    assert result.returncode == 1
    assert "demo3.png" in result.stderr
    assert "Traceback" not in result.stderr
    result = run(*options(tmp_path, tmp_path / "run", "--val", "0", "--skip-bad", "--epochs", "1"))
    assert result.returncode == 0, result.stderr
    assert "1 bad" in result.stderr


def test_a_checkpoint_from_other_circumstances_is_refused(data, tmp_path):
    assert train_here(options(data, tmp_path), stop_at=1) > 128
    tensors, state = read_checkpoint(tmp_path / "last.safetensors")
    args = parse_arguments(options(data, tmp_path))
    for name, value in (("processes", 2), ("steps in an epoch", 99), ("kind of step", "GraphStep")):
        name = next(key for key in state if name in key)
        with pytest.raises(UserError, match=f"{name} {value}, here it is {state[name]}"):
            module.Training(args, tensors, {**state, name: value})


@pytest.mark.parametrize("name", train.WRITTEN)
def test_an_earlier_training_is_not_written_over(data, tmp_path, name):
    (tmp_path / name).write_bytes(b"hours of work")
    result = run(*options(data, tmp_path))
    assert result.returncode == 1
    assert ("--resume" in result.stderr) == (name == "last.safetensors")
    assert "another --output" in result.stderr
    assert "Traceback" not in result.stderr
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"hours of work")]


@pytest.mark.parametrize("place", ["a file", "a file/run"])
def test_a_place_that_cannot_be_written_is_refused_at_once(data, tmp_path, place):
    (tmp_path / "a file").write_text("in the way")
    result = run(*options(data, tmp_path / place, "--epochs", "1000"))
    assert result.returncode == 1
    assert f"cannot write to {tmp_path / place}" in result.stderr and "another --output" in result.stderr
    assert "Traceback" not in result.stderr
    assert "epochs of" not in result.stdout  # it has not begun


def resume(checkpoint, *more):
    arguments = ["--resume", str(checkpoint), *more]
    args = parse_arguments(arguments)
    train.take_up(args, given_options(arguments))
    return args


def test_resuming_refuses_another_recipe(data, tmp_path):
    train_here(options(data, tmp_path), stop_at=1)
    checkpoint = tmp_path / "last.safetensors"
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
    del state["options"]
    write_checkpoint(checkpoint, tensors, state)
    with pytest.raises(UserError, match=r"no checkpoint of this train\.py: it has no options"):
        resume(checkpoint)


def test_resuming_refuses_another_network(data, tmp_path):
    train_here(options(data, tmp_path), stop_at=1)
    checkpoint = tmp_path / "last.safetensors"
    tensors, state = read_checkpoint(checkpoint)
    del tensors["ema.firstconv.weight"]
    write_checkpoint(checkpoint, tensors, state)
    with pytest.raises(UserError, match=r"1 missing \(firstconv\.weight\)"):
        resume(checkpoint)


def test_resuming_refuses_other_pictures(data, tmp_path):
    shutil.copytree(data / "train", tmp_path / "train")
    train_here(options(tmp_path, tmp_path / "run"), stop_at=1)
    checkpoint = tmp_path / "run" / "last.safetensors"
    for name in ("images", "masks"):  # as many, but one has another name: the split may be another
        (tmp_path / "train" / name / "demo3.png").rename(tmp_path / "train" / name / "else.png")
    tensors, state = read_checkpoint(checkpoint)
    with pytest.raises(UserError, match="checksum of the pictures' names"):
        module.Training(resume(checkpoint), tensors, state)


def test_two_trainings_do_not_share_a_folder(data, tmp_path):
    (tmp_path / "run").mkdir()
    train.lock(tmp_path / "run")  # this process is the other training
    result = run(*options(data, tmp_path / "run"))
    assert result.returncode == 1
    assert "another training is writing to" in result.stderr and "Traceback" not in result.stderr
    assert not list((tmp_path / "run").iterdir())


def test_a_checkpoint_resumed_elsewhere_has_its_best_there_too(data, tmp_path):
    train_here(options(data, tmp_path / "run"), stop_at=4)  # after the first epoch
    (tmp_path / "elsewhere").mkdir()
    tensors, state = read_checkpoint(tmp_path / "run" / "last.safetensors")
    write_checkpoint(tmp_path / "elsewhere" / "last.safetensors", tensors, {**state, "best_iou": 1.0})
    assert train_here(["--resume", str(tmp_path / "elsewhere" / "last.safetensors")]) == 0
    assert (tmp_path / "elsewhere" / "best.safetensors").exists()


def test_resuming_takes_the_recipe_over_and_the_rest_from_here(data, tmp_path):
    train_here(options(data, tmp_path), stop_at=1)
    checkpoint = tmp_path / "last.safetensors"
    args = resume(checkpoint, "--epochs", "2", "--workers", "3", "--output", str(tmp_path))
    assert (args.epochs, args.workers, args.size, args.data) == (2, 3, 32, str(data))
    assert resume(checkpoint, "--data", "faceseg_data").data == "faceseg_data"  # moved: the default's name


def test_start_from_backbone(data, tmp_path, random_state):
    names = {"firstconv": "conv1", "firstbn": "bn1", "encoder": "layer"}
    backbone = {
        name.replace(ours, theirs): array
        for name, array in random_state.items()
        for ours, theirs in names.items()
        if name.startswith(ours)
    }
    save_file(backbone, tmp_path / "backbone.safetensors")
    args = parse_arguments(options(data, tmp_path, "--backbone", str(tmp_path / "backbone.safetensors")))
    loaded = module.to_arrays(module.start_model(args))
    for name, array in random_state.items():
        is_encoder = name.startswith(tuple(names))
        if is_encoder or name.endswith("conv2.weight"):  # the decoder's stay random
            assert np.array_equal(loaded[name], array) == is_encoder, name


def test_start_from_weights(data, tmp_path, random_state, random_weights):
    args = parse_arguments(options(data, tmp_path, "--weights", str(random_weights)))
    loaded = module.to_arrays(module.start_model(args))
    np.testing.assert_array_equal(loaded["decoder2.deconv2.weight"], random_state["decoder2.deconv2.weight"])
