"""Fixtures of the tests of trainings."""

import shutil
import signal
import sys
from types import SimpleNamespace

import pytest
from runs import options, train_here, write_pairs
from small_network import SmallNetwork

import train
from training import networks
from training.processes import STOP_SIGNALS
from utils import run as run_program


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Fourteen generated pictures of 48x40 in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("some faces")
    write_pairs(folder / "train", 14)
    return folder


@pytest.fixture(autouse=True)
def signals():
    """A training in this process listens to signals; afterwards they are what they were."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def run_here(monkeypatch, capsys):
    """As `run`, in this process: without the seconds that the imports take."""

    def run_with(*arguments):
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run_program(train.main)
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=end.value.code, stdout=out, stderr=err)

    return run_with


@pytest.fixture(scope="module")
def small():
    """The trainings of this module have a small network, which takes milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "new_model", lambda recipe: SmallNetwork())
        for module in (train, networks):
            patch.setattr(module, "check_linknet34", lambda arrays: None)
        yield


@pytest.fixture(scope="module")
def stopped(small, data, tmp_path_factory):
    """The folder of a run that was stopped after its first step. Do not write to it."""
    output = tmp_path_factory.mktemp("stopped")
    assert train_here(options(data, output), stop_at=1) == 128 + signal.SIGTERM
    return output


@pytest.fixture
def checkpoint(stopped, tmp_path):
    """A copy of its checkpoint that may be changed."""
    shutil.copytree(stopped, tmp_path / "stopped")
    return tmp_path / "stopped" / "last.safetensors"
