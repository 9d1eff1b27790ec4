"""What the processes of one training share: the device, sums over all of them, and the request to stop.

Each has a rank, and they have a world size; a process that is started alone is rank 0 of 1.
"""

from __future__ import annotations

import signal
import zlib

import numpy as np

from utils import UserError, import_oneflow

flow = import_oneflow()

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COMPARED = 64  # most values that are compared


def choose_device(wanted: str) -> flow.device:
    """Return this process's device for `auto`, `cpu` or `cuda`. Raises UserError without a usable GPU."""
    # OneFlow aborts the process, past any Python error, when a missing GPU is used: ask first.
    has_gpu = wanted != "cpu" and flow.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise UserError("OneFlow finds no usable NVIDIA GPU; check the driver or use --device cpu")
    if not has_gpu:
        return flow.device("cpu")
    place, count = flow.env.get_local_rank(), flow.cuda.device_count()
    if place >= count:
        remedy = "lower NPROC or use --device cpu"
        raise UserError(f"there are more processes than GPUs, of which OneFlow finds {count}: {remedy}")
    return flow.device("cuda", place)


def sum_over_processes(values: list, device: flow.device) -> list:
    """Add up each of the numbers over all processes; every process gets the sums."""
    if flow.env.get_world_size() == 1:
        return list(values)
    tensor = flow.tensor(values, dtype=flow.float64, device=device)
    flow.comm.all_reduce(tensor)
    return tensor.numpy().tolist()


def check_agreement(values: dict, device: flow.device) -> None:
    """Raise UserError, in every process, that names what differs between the processes.

    What is exchanged has one size, whatever is compared: OneFlow aborts where sizes differ.
    """
    world, rank = flow.env.get_world_size(), flow.env.get_rank()
    values = {"the version of train.py": list(values), **values}
    table = np.zeros((world, COMPARED))
    table[rank, : len(values)] = [zlib.crc32(repr(value).encode()) for value in values.values()]
    table = np.reshape(sum_over_processes(table.ravel().tolist(), device), table.shape)
    different = [name for name, column in zip(values, table.T) if np.ptp(column)]
    if different:
        mine = ", ".join(f"{name} {values[name]}" for name in different)
        raise UserError(f"the processes were started differently: process {rank} of {world} has {mine}")


class StopRequest:
    """Ctrl-C, SIGTERM or a terminal that closes, in any process: remembered until the step is done.

    `signal` is its number, 0 before. A second one ends the process at once.
    """

    def __init__(self):
        self.signal = 0
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, self.remember)

    def remember(self, number: int, frame) -> None:
        self.signal = number
        signal.signal(number, signal.SIG_DFL)

    def made(self, device: flow.device) -> bool:
        """Return whether any process was asked to stop; all must call it, and all get the same answer."""
        asked = sum_over_processes([float(self.signal > 0)], device)[0] > 0
        if asked:  # else nothing is written: a signal may come at this moment
            self.signal = self.signal or signal.SIGTERM
        return asked
