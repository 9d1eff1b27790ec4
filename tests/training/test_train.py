"""Training LinkNet34 itself end to end, in processes of its own: files, signals, several processes."""

import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from runs import KERNELS, ROOT, options, resume, run, wait_for
from safetensors.numpy import save_file
from small_network import SmallNetwork

from runtimes.network import check_linknet34
from runtimes.weights import read_weights
from training import loop as module
from training.checkpoint import read_checkpoint, write_checkpoint
from training.launch import free_port
from training.networks import make_model, to_arrays
from training.options import parse_arguments
from training.processes import STOP_SIGNALS
from utils import UserError, import_oneflow

flow = import_oneflow()


def test_two_processes_equal_one_with_the_double_batch(data, tmp_path):
    """Batch norm aside: its statistics are those of each process's own part, so here it keeps still."""
    script = tmp_path / "two.py"
    script.write_text(
        "import sys\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests' / 'training')!r}]\n"
        "import numpy as np\n"
        "from small_network import SmallNetwork\n"
        "from training.networks import to_arrays\n"
        "from training.options import Recipe\n"
        "from training.processes import check_agreement\n"
        "from training.steps import Step\n"
        "from utils import UserError, import_oneflow\nflow = import_oneflow()\n"
        "rng = np.random.default_rng(0)\n"
        "image = rng.standard_normal((4, 3, 32, 32)).astype(np.float32)\n"
        "mask = rng.choice([0, 128, 255], (4, 1, 32, 32)).astype(np.uint8)\n"
        "rank, world = flow.env.get_rank(), flow.env.get_world_size()\n"
        "mine = slice(4 // world * rank, 4 // world * (rank + 1))\n"
        "flow.manual_seed(rank)\n"  # rank 0's weights must reach the other
        "model = SmallNetwork()\n"
        "model.eval()\n"
        "step = Step(model, Recipe(optimizer='sgd', lr=0.1), world)\n"
        "for _ in range(2):\n"
        "    step(flow.tensor(image[mine]), flow.tensor(mask[mine]), 0.1)\n"
        "np.savez(sys.argv[1] + str(rank), **to_arrays(model))\n"
        "try:\n"
        "    check_agreement({'size': 32, 'lr': rank}, flow.device('cpu'))\n"
        "except UserError as error:\n"
        "    open(sys.argv[1] + str(rank) + '.txt', 'w').write(str(error))\n"
    )
    launch = ["-m", "oneflow.distributed.launch", "--nproc_per_node", "2", "--master_port", str(free_port())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for arguments in (
        [str(script), str(tmp_path / "one")],
        [*launch, str(script), str(tmp_path / "two")],
    ):
        subprocess.run([sys.executable, *arguments], check=True, timeout=240, env=environment, cwd=tmp_path)
    assert not (tmp_path / "one0.txt").exists()
    for rank in range(2):
        assert f"process {rank} of 2 has lr {rank}" in (tmp_path / f"two{rank}.txt").read_text()
    one, first, second = (np.load(tmp_path / f"{name}.npz") for name in ("one0", "two0", "two1"))
    flow.manual_seed(0)
    start = to_arrays(SmallNetwork())
    for name in one.files:
        assert np.array_equal(first[name], second[name]), name
        moved = np.abs(one[name] - start[name]).max()
        assert np.abs(first[name] - one[name]).max() <= 1e-3 * moved + 1e-7, name
    assert np.abs(one["firstconv.weight"] - start["firstconv.weight"]).max() > 1e-5


def test_kernels_that_are_not_installed_are_named(data, tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch here')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = run(*options(data, tmp_path / "run", "--kernels", "torch"), env=environment)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "train.py: --kernels torch needs PyTorch (no torch here): `bash tools/setup.sh torch` installs it"
    )


def test_a_process_that_fails_leaves_without_waiting(tmp_path):
    """As OneFlow's exit would for the other processes, which wait for this one."""
    (tmp_path / "oneflow.py").write_text("import atexit, time\natexit.register(time.sleep, 99)\n1 / 0")
    started = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "WORLD_SIZE": "2"}
    result = run("--demo", "--output", str(tmp_path / "run"), env=environment)
    assert (result.returncode, time.monotonic() - started < 90) == (1, True)
    assert "ZeroDivisionError" in result.stderr


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_signal_finishes_the_step_and_writes_a_checkpoint(data, tmp_path, number):
    stop_at_random(data, tmp_path, number, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 41))
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_every_signal_at_any_moment_ends_in_order(data, tmp_path, number, seed):
    stop_at_random(data, tmp_path, number, seed)


def stop_at_random(data, folder, number, seed):
    """Send the signal to a training and its loader after a random time: the end must be orderly.

    With the small network, so that steps, saves and validations come many times a second.
    """
    program = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests' / 'training')!r}]\n"
        "import train, utils\nfrom small_network import SmallNetwork\nfrom training import networks\n"
        "networks.new_model = lambda recipe: SmallNetwork()\nutils.run(train.main)"
    )
    arguments = options(data, folder / "run", "--epochs", "500", "--workers", "2", "--save-minutes", "0.002")
    with open(folder / "err", "w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments, "--batch-size", "1"],
            **{"stdout": subprocess.PIPE, "stderr": stderr, "text": True, "start_new_session": True},
        )
    wait_for(lambda: "loss=" in (folder / "err").read_text(), process)
    time.sleep(random.Random(seed).uniform(0, 2))
    os.killpg(process.pid, number)  # as a terminal does
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, (folder / "err").read_text()[-500:]
    assert "--resume" in output
    assert "Traceback" not in (folder / "err").read_text()
    assert read_checkpoint(folder / "run" / "last.safetensors").state.step > 0


def test_demo_needs_no_data(tmp_path):
    short = ("--size", "32", "--minutes", "0.001", "--val", "0.05")  # one step
    result = run("--demo", *short, "--kernels", KERNELS, "--output", str(tmp_path), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    check_linknet34(read_weights(tmp_path / "best.safetensors"))
    assert len(read_checkpoint(tmp_path / "best.safetensors").state.log) == 1


def test_resuming_refuses_another_network(data, tmp_path):
    args = parse_arguments(options(data, tmp_path))
    module.Training(args).save("last.safetensors")
    checkpoint = tmp_path / "last.safetensors"
    damaged = read_checkpoint(checkpoint)
    del damaged.tensors["ema.firstconv.weight"]
    write_checkpoint(checkpoint, damaged)
    with pytest.raises(UserError, match=r"firstconv\.weight is missing"):
        resume(checkpoint)


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
    loaded = to_arrays(make_model(args))
    for name, array in random_state.items():
        is_encoder = name.startswith(tuple(names))
        if is_encoder or name.endswith("conv2.weight"):  # the decoder's stay random
            assert np.array_equal(loaded[name], array) == is_encoder, name


def test_start_from_weights(data, tmp_path, random_state, random_weights):
    args = parse_arguments(options(data, tmp_path, "--weights", str(random_weights)))
    loaded = to_arrays(make_model(args))
    np.testing.assert_array_equal(loaded["decoder2.deconv2.weight"], random_state["decoder2.deconv2.weight"])
