"""Meshes: the devices of a run, arranged along the axes `data`, `model` and `population`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh

from jaxfc.errors import unknown_name

AXES = ("data", "model", "population")
"""What devices divide among them: a batch's rows; a network's hidden units; the members of a population."""

Spec = str | Mapping[str, int] | Mesh
REST = -1


def mesh_of(spec: Spec | None = None, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh that a text, a mapping or a mesh of JAX's own stands for. It has all of `AXES`.

    Args:
        spec: the devices along each axis: `"data=4,model=2"`, or `{"data": 4, "model": 2}`. -1 on one axis stands
            for all devices that the other axes leave; an axis that is not named has one. None: a single device.
        devices: the devices to choose from, by default all of this process and of those it is joined with. The mesh
            has the first of them.

    Raises:
        ValueError: an unknown axis, what is no number of devices, more devices than there are, or a number of
            devices that does not divide that of those there are.

    >>> mesh_of("data=-1").shape == {"data": jax.device_count(), "model": 1, "population": 1}
    True
    >>> mesh_of("rows=2")
    Traceback (most recent call last):
    ValueError: unknown mesh axis 'rows': use one of: data, model, population
    """
    if isinstance(spec, Mesh):
        return _canonical(spec)
    devices = jax.devices() if devices is None else list(devices)
    sizes = _filled(_sizes(spec), len(devices))
    count = math.prod(sizes.values())
    text = spelled(sizes)
    if count > len(devices):
        raise ValueError(f"mesh {text} needs {count} devices, and there are {len(devices)}: use fewer")
    if len(devices) % count:
        raise ValueError(f"mesh {text}: {count} devices do not divide the {len(devices)} that there are")
    shape = tuple(sizes[axis] for axis in AXES)
    if count < len(devices):
        return Mesh(np.array(devices[:count]).reshape(shape), AXES)
    # Neighbours along an axis are then neighbours on the machine's own network.
    return Mesh(mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True), AXES)


def _sizes(spec: str | Mapping[str, int] | None) -> dict[str, int]:
    """The devices along each axis named."""
    if spec is None:
        return {}
    pairs = list(spec.items()) if isinstance(spec, Mapping) else [_pair(part, spec) for part in spec.split(",")]
    for axis, _ in pairs:
        if axis not in AXES:
            raise unknown_name("mesh axis", axis, AXES)
    for axis, size in pairs:
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or (size < 1 and size != REST):
            raise ValueError(f"mesh {axis}={size}: need a number of devices from 1, or -1 for all that are left")
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"mesh {spec!r} names an axis twice")
    return dict(pairs)


def _pair(part: str, spec: str) -> tuple[str, Any]:
    axis, equals, size = part.strip().partition("=")
    if not equals:
        raise ValueError(f"mesh {spec!r}: write AXIS=DEVICES, joined by commas: data=4,model=2")
    try:
        return axis, int(size)
    except ValueError:
        return axis, size


def _filled(sizes: Mapping[str, int], there: int) -> dict[str, int]:
    """The sizes of all axes, with what -1 stands for."""
    open_axes = [axis for axis, size in sizes.items() if size == REST]
    if len(open_axes) > 1:
        raise ValueError(f"mesh {spelled(sizes)}: -1 may stand on one axis only")
    others = math.prod(size for size in sizes.values() if size != REST)
    sizes = {axis: sizes.get(axis, 1) for axis in AXES}
    return sizes | dict.fromkeys(open_axes, max(there // others, 1))


def _canonical(mesh: Mesh) -> Mesh:
    """A mesh of JAX's own with all axes, in their order."""
    for axis in mesh.axis_names:
        if axis not in AXES:
            raise unknown_name("mesh axis", str(axis), AXES)
    order = [mesh.axis_names.index(axis) for axis in AXES if axis in mesh.axis_names]
    return Mesh(mesh.devices.transpose(order).reshape([mesh.shape.get(axis, 1) for axis in AXES]), AXES)


def spelled(mesh: Mesh | Mapping[str, int]) -> str:
    """A mesh as text, as `mesh_of` reads it.

    >>> spelled({"data": 4, "model": 2, "population": 1}), spelled(mesh_of())
    ('data=4,model=2', 'data=1')
    """
    sizes = mesh.shape if isinstance(mesh, Mesh) else mesh
    return ",".join(f"{axis}={size}" for axis, size in sizes.items() if size != 1) or "data=1"


def check_use(mesh: Mesh, axes: Sequence[str], what: str) -> None:
    """Raise unless all devices of a mesh stand along axes that are of use.

    Raises:
        ValueError: some do not; the remedy is named.

    >>> check_use(mesh_of(), ("data",), "a prediction")
    >>> check_use(Mesh(np.zeros((1, 2)), ("data", "model")), ("data",), "a prediction")
    Traceback (most recent call last):
    ValueError: mesh model=2: a prediction uses data only, not model
    """
    for axis, size in mesh.shape.items():
        if size > 1 and axis not in axes:
            raise ValueError(f"mesh {spelled(mesh)}: {what} uses {' and '.join(axes)} only, not {axis}")


def check_batch(mesh: Mesh, batch_size: int, accumulate: int = 1) -> None:
    """Raise unless the axis `data` divides a batch, or each part of it whose gradient is computed at once.

    Raises:
        ValueError: it does not.

    >>> check_batch(Mesh(np.zeros(8), ("data",)), 100)
    Traceback (most recent call last):
    ValueError: mesh data=8 does not divide batch_size=100: use a batch of a multiple of 8
    """
    count = mesh.shape["data"]
    if batch_size % (count * accumulate):
        parts = f" in accumulate={accumulate} parts" if accumulate > 1 else ""
        raise ValueError(
            f"mesh data={count} does not divide batch_size={batch_size}{parts}: "
            f"use a batch of a multiple of {count * accumulate}"
        )
