"""How many members train at once, and how many programs run beside one another.

On a GPU one program fills the device: the more members, the better. On a TPU that holds until what its members
carry from step to step outgrows the memory on the chip. On a CPU a program of many members gains little over one
of a few; there, one runs on each core.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxfc.data import Dataset
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
    """So many members in a program at most, and so many programs at once on each device.

    Where programs are narrow, all have one width, filled up with members that are thrown away: numbers
    are then the same to the last bit whatever is trained beside them. Where they are wide, that would be
    a waste; there they have one of a few widths.
    """

    members: int
    programs: int

    def width(self, members: int) -> int:
        """The number of members of the program that trains so many."""
        width = self.members
        while width > NARROW and width // 4 >= members and width % 4 == 0:
            width //= 4
        return width


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


def free_bytes(device: jax.Device) -> int:
    """The memory that is free on a device; on a CPU, to this process, whose control group may allow it less."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    import psutil

    return min([psutil.virtual_memory().available, *_control_group()])


def _control_group(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """What is left to this process's control group, of version 2 or 1; nothing where there is no limit."""
    left = []
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            left.append(int((root / limit).read_text()) - int((root / used).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return left


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
    group: Group, num_val: int, members: int, device: jax.Device, chunk: int | None = None, shared: int = 0
) -> Chunking:
    """Cut a group's population into chunks that fit the device.

    Args:
        group: the group.
        num_val: the number of validation rows.
        members: how many members there are to train.
        device: where.
        chunk: the members of a program, to override what is chosen here.
        shared: bytes that the search takes beside; see `shared_bytes`.

    Raises:
        ValueError: `chunk` is below 1; not even one member fits, or not so many as `chunk`.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk={chunk} must be at least 1")
    each, free = member_bytes(group, num_val), max(SHARE * free_bytes(device) - shared, 0)
    programs = (os.cpu_count() or 1) if device.platform == "cpu" else 1
    fit = int(free // each)
    if fit < (chunk or 1):
        raise ValueError(
            f"chunk={chunk or 1}: {chunk or 1} candidate(s) of {each / 1e9:.3g} GB each do not fit the "
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
        chunk = Chunking(4 ** int(np.log2(most) / 2), 1).width(members)
    return Chunking(chunk, max(min(programs, fit // chunk), 1))
