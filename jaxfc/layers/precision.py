"""The type that a network computes in: the one asked for, where the device multiplies it fast."""

import functools
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike

FLAGS = {"avx512_bf16", "amx_bf16"}  # instructions that XLA multiplies bfloat16 with on a CPU

_target = jax.make_user_context(None)


def compiling_for(platform: str) -> Any:
    """Within this context, programs are traced for another platform than JAX's default one: `"tpu"`, `"cuda"`.

    What this machine's processor multiplies fast is then of no account. As `jaxfc.layers.plain_autodiff`, the platform
    is part of the key of `jax.jit`'s cache: a function traced for this machine is traced anew inside.

    >>> from jaxfc import FCNet
    >>> with compiling_for("tpu"):
    ...     print(compute_type(FCNet(4, (), 3, compute_dtype="bfloat16")))
    bfloat16
    """
    return _target(platform)


def compute_type(net: Any) -> jnp.dtype:
    """The dtype of a network's activations and of the factors of its products.

    That is `compute_dtype`, or `param_dtype` without one. Where bfloat16 is asked for over wider parameters, and
    the processor has no instructions for it, it is that of the parameters: bfloat16 would be widened product by
    product, and slower than float32. A warning says so, once.

    Args:
        net: a network with `param_dtype` and `compute_dtype`.

    >>> from jaxfc import FCNet
    >>> compute_type(FCNet(4, (), 3, param_dtype="bfloat16")).name
    'bfloat16'
    """
    return fast_type(net.compute_dtype, net.param_dtype)


def fast_type(asked: DTypeLike | None, stored: DTypeLike) -> jnp.dtype:
    """The type of products: the one asked for (None: that of the parameters), where it is fast; see `compute_type`.

    >>> fast_type(None, "float32").name, fast_type("float64", "float32").name
    ('float32', 'float64')
    """
    asked, stored = jnp.dtype(stored if asked is None else asked), jnp.dtype(stored)
    fast = _target.value not in (None, "cpu") or multiplies_bfloat16()
    if asked == jnp.bfloat16 and stored != jnp.bfloat16 and not fast:
        _say_once()
        return stored
    return asked


@functools.cache
def multiplies_bfloat16() -> bool:
    """Whether JAX's default device multiplies bfloat16 faster than float32: every GPU and TPU, and CPUs that say so.

    >>> multiplies_bfloat16() in (True, False)
    True
    """
    return jax.default_backend() != "cpu" or bool(FLAGS & cpu_flags())


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> set[str]:
    """The instruction sets that the processor has, as Linux names them; none where the system does not say.

    >>> sorted(cpu_flags(Path("no such file")))
    []
    """
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())


@functools.cache
def _say_once() -> None:
    warnings.warn(
        "compute_dtype='bfloat16': this processor has no instructions for it (AVX512-BF16 or AMX), so products are "
        "computed in the parameters' type",
        stacklevel=4,
    )
