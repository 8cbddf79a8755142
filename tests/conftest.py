"""Every shape and dtype annotation of the package is enforced while the tests run.

What one process of a test run has compiled, the others read: most of the tests' time is compilation, and workers,
commands and notebooks compile much the same. The folder lives as long as the run.
"""

import atexit
import os
import shutil
import tempfile

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


# What is tested here are numbers, or compiled programs, as a user's compiler makes them. Of all else what is done is
# tested, to which the compiler's optimizations add nothing but a quarter of the time.
OPTIMIZED = (
    "ahead", "bench", "compilation", "cs231n_dropout_notebook", "cs231n_normalization_notebooks", "cs231n_notebook",
    "fit", "gradcheck", "layers", "losses", "networks", "numpy_reference", "optim",
    "optim_schedules", "optim_wrappers", "plan", "products", "resume", "right_numbers", "step", "threefry",
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def optimized(request):
    """Whether the compiler optimizes, in this process and in those that it starts.

    What a file's tests have compiled is let go of after them: each program takes some maps of memory, of which a
    process has 65,530, and where there are no more the compiler crashes.
    """
    switch, (test, _, name) = "JAX_DISABLE_MOST_OPTIMIZATIONS", request.path.stem.partition("_")
    quick = test == "test" and name not in OPTIMIZED
    jax.config.update(switch.lower(), quick)
    os.environ[switch] = str(quick)
    yield
    del os.environ[switch]
    jax.config.update(switch.lower(), False)
    jax.clear_caches()


with install_import_hook("jaxfc", "beartype.beartype"):
    from jaxfc.networks import precision

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
