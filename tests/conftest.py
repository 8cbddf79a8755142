"""Every shape and dtype annotation of the package is enforced while the tests run.

What one process of a test run has compiled, the others read: most of the tests' time is compilation, and workers,
commands and notebooks compile much the same. The folder lives as long as the run.
"""

import atexit
import functools
import os
import shutil
import tempfile
import threading

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder = tempfile.mkdtemp(prefix="jaxfc-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

import jax
import pytest
from jaxtyping import install_import_hook


def _promote(ranks, types):
    jax.config.update("jax_numpy_rank_promotion", ranks)
    jax.config.update("jax_numpy_dtype_promotion", types)


# What is tested here are compiled programs, or bits, as a user's compiler makes them. Of all else what is done is
# tested, to which the compiler's optimizations add nothing but most of the time.
OPTIMIZED = (
    "ahead", "bench", "compilation", "cs231n_dropout_notebook", "cs231n_normalization_notebooks", "numpy_reference",
    "parallel", "plan", "resume", "right_numbers", "streaming", "threefry",
)  # fmt: skip
# The compiler's older emitters make slower programs, in half the time; newer compilers know them no more.
FASTER = ("xla_cpu_use_fusion_emitters", False) if jax.__version_info__ < (0, 11) else None


def _compile_faster():
    """Let programs of the processor be compiled by `FASTER` where JAX's optimizations are off.

    JAX has no switch for it but the flags of a whole process.
    """
    from jax._src import compiler

    options_of = compiler.get_compile_options

    @functools.wraps(options_of)
    def faster(*args, backend=None, **kwargs):
        options = options_of(*args, backend=backend, **kwargs)
        if jax.config.read("jax_disable_most_optimizations") and getattr(backend, "platform", None) == "cpu":
            options.env_option_overrides = [*options.env_option_overrides, FASTER]
        return options

    compiler.get_compile_options = faster


if FASTER:
    _compile_faster()


@pytest.fixture(autouse=True, scope="module")
def optimized(request):
    """Whether the compiler optimizes, in this process and in those that it starts.

    What a file's tests have compiled is let go of after them: each program takes some maps of memory, of which a
    process has 65,530, and where there are no more the compiler crashes. What they have begun to compile is waited
    for: it would be counted among the programs of the next.
    """
    switch, (_, _, name) = "JAX_DISABLE_MOST_OPTIMIZATIONS", request.path.stem.rpartition("test_")
    quick = name not in OPTIMIZED
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(switch, str(quick))
        if quick and FASTER:
            patch.setenv("XLA_FLAGS", f"{os.environ.get('XLA_FLAGS', '')} --{FASTER[0]}={FASTER[1]}".lower().strip())
        jax.config.update(switch.lower(), quick)
        yield
    jax.config.update(switch.lower(), False)
    for thread in threading.enumerate():
        if thread.name.startswith("compiler"):
            thread.join()
    jax.clear_caches()


with install_import_hook("jaxfc", "beartype.beartype"):
    from jaxfc.layers import precision

# Nothing is broadcast or widened by accident; and whoever uses the library may have set these switches.
_promote("raise", "strict")
precision.multiplies_bfloat16 = lambda: True  # whatever processor the tests run on


@pytest.fixture
def x64():
    """64-bit arithmetic for the length of a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def promotion():
    """JAX's own promotion of ranks and types for the length of a test, where a peer or an example relies on it."""
    # For all threads: a search trains in some of its own.
    _promote("allow", "standard")
    yield
    _promote("raise", "strict")


@pytest.fixture
def compilations(monkeypatch):
    """A list that grows by one with every program compiled."""
    compiled = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield compiled
    jax.monitoring.unregister_event_duration_listener(listen)
