"""Devices to compile for, here or not: TPUs by their shape, an H200, or this machine's own.

The compilers are plugins of JAX's (libtpu for TPUs, the CUDA plugin for NVIDIA's) and need no device. Asked for a
topology by name, they return devices that programs can be compiled for and not run on.
"""

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxfc.planning.chips import CHIPS, Chip

THIS = "this"
TPUS = tuple(name for name in CHIPS if name.startswith("v"))
EXAMPLES = "v5e:1x1 (one chip), v5e:4x4, v5e:16x16 (a pod), v6e:8x8, v5p:2x2x1, h200, this"
CUDA_PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin")

# An H200 by the figures that its compiler wants to know.
H200 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 150000000000 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 minor: 0 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 patch: 0 }
device_description_str: "NVIDIA H200"
"""

# libtpu looks for a cloud machine's metadata, unless it is told what it would find there; and as a TPU serves one
# process, lets one process load it, unless it is told that there may be several.
ALONE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Topology(NamedTuple):
    """Devices to compile for.

    Args:
        name: what it was asked for by.
        platform: JAX's name of the kind of device: `"tpu"`, `"cuda"`, `"cpu"` …
        devices: the devices.
        shape: the chips along each axis of their network.
        chip: what is published of one; None of this machine's own device.

    >>> topology("this").shape
    (1,)
    """

    name: str
    platform: str
    devices: tuple[Any, ...]
    shape: tuple[int, ...]
    chip: Chip | None

    @property
    def here(self) -> bool:
        """Whether programs can be run on it."""
        return self.name == THIS


def topology(name: str) -> Topology:
    """The devices that a name stands for.

    Args:
        name: a kind of TPU and its shape (`"v5e:1x1"` is Colab's one chip, `"v5e:16x16"` a pod), `"h200"`, or
            `"this"` for JAX's default device.

    Raises:
        ValueError: an unknown name, or a shape that there is not.
        ModuleNotFoundError: its compiler is not installed.
        OSError: its compiler cannot be used, as where another process has a TPU's.

    >>> topology("v5e")
    Traceback (most recent call last):
    ValueError: unknown topology 'v5e': give it a shape, as in v5e:4x4
    """
    kind, _, shape = name.partition(":")
    if kind not in (*CHIPS, THIS):
        raise ValueError(f"unknown topology {name!r}: use {EXAMPLES}")
    if kind == THIS:
        device = jax.devices()[0]
        platform = "cuda" if device.platform == "gpu" else device.platform
        return Topology(name, platform, (device,), (1,), None)
    if kind not in TPUS:
        return Topology(name, "cuda", _h200(), (1,), CHIPS[kind])
    pod = CHIPS[kind].pod
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)+", shape):
        example = "2x2x1" if len(pod) == 3 else "4x4"
        raise ValueError(f"unknown topology {name!r}: give it a shape, as in {kind}:{example}")
    axes = tuple(map(int, shape.split("x")))
    # Of a larger one the compiler would end the process.
    if len(axes) != len(pod) or any(ours > most for ours, most in zip(sorted(axes), pod, strict=True)):
        raise ValueError(f"unknown topology {name!r}: {kind} has up to {'x'.join(map(str, pod))} chips")
    return Topology(name, "tpu", _tpus(name), axes, CHIPS[kind])


def _tpus(name: str) -> tuple[Any, ...]:
    from jax.experimental import topologies

    if not (importlib.util.find_spec("libtpu") or "TPU_LIBRARY_PATH" in os.environ):
        raise ModuleNotFoundError(f"{name} needs the TPU's compiler, libtpu (137 MB): pip install 'jaxfc[plan]'")
    with _as_if_alone():
        try:
            return tuple(topologies.get_topology_desc(platform="tpu", topology_name=name).devices)
        except jax.errors.JaxRuntimeError as error:
            reason = " ".join(str(error).split())
            if "INVALID_ARGUMENT" not in reason:
                raise OSError(f"{name}: libtpu, the TPU's compiler, cannot be used: {reason}") from None
            reason = reason.removeprefix("INVALID_ARGUMENT: ")
            raise ValueError(f"unknown topology {name!r} ({reason}): use {EXAMPLES}") from None


@contextlib.contextmanager
def _as_if_alone() -> Iterator[None]:
    """Tell libtpu what it would look for elsewhere; on a machine whose TPU JAX uses, nothing."""
    told = {} if has_tpu() else ALONE
    before = {name: os.environ.get(name) for name in told}
    os.environ.update({name: value for name, value in told.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def has_tpu() -> bool:
    """Whether JAX may use a TPU, and there is one.

    >>> has_tpu() in (True, False)
    True
    """
    allowed = "tpu" in (jax.config.jax_platforms or "tpu")
    return allowed and any(any(Path("/dev").glob(pattern)) for pattern in ("accel[0-9]*", "vfio/[0-9]*"))


def _h200() -> tuple[Any, ...]:
    from jax.experimental import topologies

    if not any(map(importlib.util.find_spec, CUDA_PLUGINS)):
        raise ModuleNotFoundError(
            "h200 needs the GPU's compilers, jax-cuda13-plugin and what it builds on (3 GB): "
            "pip install 'jax[cuda13]', in an environment of its own"
        )
    one = "1x1x1"
    found = topologies.get_topology_desc(platform="cuda", topology_name=one, topology=one, target_config=H200)
    return tuple(found.devices)
