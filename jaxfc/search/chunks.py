"""How many members train at once, and how many programs run beside one another.

On an accelerator one program fills the device: the more members, the better. On a CPU a program of
many members gains little over one of a few; there, one runs on each core.
"""

import os
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxfc.network import FCNet
from jaxfc.search.candidates import Group
from jaxfc.search.population import Member, begin
from jaxfc.step import EVALUATION_ROWS

SHARE = 0.8  # of the free memory that members may take
CPU_BYTES = 2**28  # that a program's members may take on a CPU
MOST = 4096
NARROW = 8


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


def member_shape(group: Group) -> Member:
    """The shapes of one member."""
    one = group.stacked([next(iter(group.numbers))])
    shapes = jax.eval_shape(lambda candidates: begin(group.rule, candidates), one)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), shapes)


def member_bytes(group: Group, num_val: int) -> int:
    """About how much memory a member takes while it trains.

    Twice its state (before and after the epoch, of which one is chosen), its gradients, and the
    activations of a batch, kept for the backward pass, or of the validation rows measured at once.
    """
    shape = member_shape(group)
    net: FCNet = next(iter(group.nets.values()))
    item = np.dtype(net.dtype).itemsize
    per_layer = 3 if net.normalization or net.dropout_keep_ratio is not None else 2
    units = sum(net.dims[1:])
    batch = per_layer * group.batch_size * units * item
    validation = min(EVALUATION_ROWS, num_val) * (net.input_dim + 2 * max(net.dims[1:])) * item
    return 2 * _bytes(shape) + _bytes(shape.params) + max(batch, validation)


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def free_bytes(device: jax.Device) -> int:
    """The memory that is free on a device."""
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    import psutil

    return psutil.virtual_memory().available


def chunking(group: Group, num_val: int, members: int, device: jax.Device, chunk: int | None = None) -> Chunking:
    """Cut a group's population into chunks that fit the device.

    Args:
        group: the group.
        num_val: the number of validation rows.
        members: how many members there are to train.
        device: where.
        chunk: the members of a program, to override what is chosen here.

    Raises:
        ValueError: `chunk` is below 1; not even one member fits, or not so many as `chunk`.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk={chunk} must be at least 1")
    each, free = member_bytes(group, num_val), SHARE * free_bytes(device)
    programs = (os.cpu_count() or 1) if device.platform == "cpu" else 1
    fit = int(free // each)
    if fit < (chunk or 1):
        raise ValueError(
            f"chunk={chunk or 1}: {chunk or 1} candidate(s) of {each / 1e9:.3g} GB each do not fit the "
            f"{free / 1e9:.3g} GB that may be used on {device.device_kind}: "
            + ("lower --chunk" if fit else "search smaller networks or batches")
        )
    if chunk is None and device.platform == "cpu":
        most = min(max(CPU_BYTES // each, 1), NARROW, fit)
        chunk = 2 ** int(np.log2(most))
    elif chunk is None:
        chunk = Chunking(4 ** int(np.log2(min(MOST, fit)) / 2), 1).width(members)
    return Chunking(chunk, max(min(programs, fit // chunk), 1))
