"""How many members train at once, and how many programs run beside one another.

On a GPU one program fills the device: the more members, the better. On a TPU that holds until what its members
carry from step to step outgrows the memory on the chip. On a CPU a program of many members gains little over one
of a few; there, one runs on each core.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxfc.data import Dataset
from jaxfc.memory import free_bytes
from jaxfc.networks.contract import cost
from jaxfc.objective import ROWS
from jaxfc.search.candidates import Group
from jaxfc.search.population import member_shape

SHARE = 0.8  # of the free memory that a search may take
CPU_BYTES = 2**28  # that a program's members may take on a CPU
MOST = 4096
NARROW = 8
ON_CHIP = 2**27  # bytes of memory on a TPU's chip, of v5e and v6e
FEW = 16  # members that a TPU trains at once, however large they are


@dataclass(frozen=True)
class Chunking:
    """So many members in a program at most, on all of its devices together, and so many programs at once.

    Where programs are narrow, all have one width, filled up with members that are thrown away: numbers
    are then the same to the last bit whatever is trained beside them. Where they are wide, that would be
    a waste; there they have one of a few widths. What counts is the width on a device: of many devices, each
    runs the program that one device runs of its share.
    """

    members: int
    programs: int
    devices: int = 1

    def width(self, members: int) -> int:
        """The number of members of the program that trains so many."""
        width = self.members // self.devices
        while width > NARROW and width // 4 * self.devices >= members and width % 4 == 0:
            width //= 4
        return width * self.devices


def member_bytes(group: Group, num_val: int) -> int:
    """About how much memory a member takes while it trains.

    Twice its state (before and after the epoch, of which one is chosen), its gradients, and the
    activations of a batch, kept for the backward pass, or of the validation rows measured at once.
    """
    shape = member_shape(group.recipe, group.first)
    activations = cost(group.net).activation_bytes
    batch = group.settings.batch_size // group.settings.accumulate * activations
    validation = min(ROWS, num_val) * (4 * group.net.input_dim + activations)
    return 2 * _bytes(shape) + _bytes(shape.params) + max(batch, validation)


def carried_bytes(group: Group) -> int:
    """What a member carries from one step to the next: parameters, statistics and slots."""
    shape = member_shape(group.recipe, group.first)
    return _bytes((shape.params, shape.stats, shape.opt_state))


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def shared_bytes(data: Dataset, groups: Sequence[Group], folds: int, keep: int, device: jax.Device) -> int:
    """About how much memory a search takes beside the members that train: data, waiting members, the best parameters.

    On an accelerator the latter two are in the host's memory, and only the data count.
    """
    arrays = [data.x_train, data.y_train, data.x_val, data.y_val]
    on_device = sum(each.nbytes for each in arrays) + (data.x_train.nbytes if folds > 1 else 0)
    if device.platform != "cpu":
        return on_device
    shapes = [(len(g.places), member_shape(g.recipe, g.first)) for g in groups]
    waiting = sum(count * folds * _bytes(shape) for count, shape in shapes)
    return on_device + waiting + keep * folds * max(_bytes(shape.best) for _, shape in shapes)


def chunking(
    group: Group,
    num_val: int,
    members: int,
    device: jax.Device,
    chunk: int | None = None,
    shared: int = 0,
    devices: int = 1,
) -> Chunking:
    """Cut a group's population into chunks that fit the devices.

    Args:
        group: the group.
        num_val: the number of validation rows.
        members: how many members there are to train.
        device: where; of several devices, one of them.
        chunk: the members of a program, to override what is chosen here.
        shared: bytes that the search takes beside; see `shared_bytes`.
        devices: how many devices the members are divided among.

    Raises:
        ValueError: `chunk` is below 1, or its members cannot be divided among the devices; not even one member
            fits, or not so many as `chunk`.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk={chunk} must be at least 1")
    if chunk is not None and chunk % devices:
        raise ValueError(f"chunk={chunk}: mesh population={devices} does not divide it: use a multiple of {devices}")
    return _share(group, num_val, members, device, chunk and chunk // devices, shared, devices)


def _share(
    group: Group, num_val: int, members: int, device: jax.Device, chunk: int | None, shared: int, devices: int
) -> Chunking:
    """The chunking of which so many members, `chunk`, are on each device."""
    on_host = device.platform == "cpu"
    there = devices if on_host else 1  # which share one memory
    each, free = member_bytes(group, num_val), max(SHARE * free_bytes(device) - there * shared, 0) / there
    programs = (os.cpu_count() or 1) if on_host and devices == 1 else 1
    fit = int(free // each)
    if fit < (chunk or 1):
        raise ValueError(
            f"chunk={(chunk or 1) * devices}: {chunk or 1} candidate(s) of {each / 1e9:.3g} GB each do not fit the "
            f"{free / 1e9:.3g} GB that may be used on {device.device_kind} beside {shared / 1e9:.3g} GB of data and "
            "waiting candidates: "
            + ("lower --chunk" if fit else "search fewer or smaller networks, or smaller batches")
        )
    if chunk is None and device.platform == "cpu":
        most = min(max(CPU_BYTES // each, 1), NARROW, fit)
        chunk = 2 ** int(np.log2(most))
    elif chunk is None:
        most = min(MOST, fit)
        if device.platform == "tpu":
            most = min(most, max(ON_CHIP // carried_bytes(group), FEW))
        chunk = Chunking(4 ** int(np.log2(most) / 2), 1).width(-(-members // devices))
    return Chunking(chunk * devices, max(min(programs, fit // chunk), 1), devices)
