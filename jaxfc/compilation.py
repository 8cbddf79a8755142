"""A persistent compilation cache: what one process has compiled, the next one reads. Off unless asked for.

It is JAX's own cache, kept in a folder of the user's, with every program in it however small, and with its hits
counted. Numbers are those of a program compiled anew, to the last bit.

Entries are code that is run: whoever can write to the folder can make this process do anything. So it has to be
the user's own, and closed to others. An entry may hold instructions that another processor lacks, so each kind of
processor and each version of jaxlib has a sub-folder, and a home folder on many machines can hold them all.

A hit needs XLA to take its own entry back. On processors for which LLVM prefers not to gather (many of Intel's, from
Skylake to Ice Lake) jaxlib 0.9 and 0.10 can take an entry of the very same machine for another machine's and refuse
it: nothing is wrong then but that every process compiles everything. On an AMD EPYC of the fourth generation all
entries are taken. Which it is, the counts say.
"""

import hashlib
import os
import platform
import stat
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
from jax.experimental.compilation_cache.compilation_cache import reset_cache

_OPTIONS = {
    "jax_enable_compilation_cache": True,
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    # Caches of XLA's own would lie beside the entries, and their paths in the entries' keys.
    "jax_persistent_cache_enable_xla_caches": "none",
}


class CompilationCache:
    """A compilation cache in use, until it is closed or, as a context, left; see `compilation_cache`.

    `folder` is where its entries are, `compiled` the number of programs compiled since it was opened, and `found`
    that of programs found in it.

    Args:
        folder: for the entries; it has been checked.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, CompilationCache(Path(folder)) as cache:
    ...     print(cache)
    compiled: 0 programs; from the cache: 0
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found = 0
        self._made_ready = 0
        self._lock = threading.Lock()  # programs are compiled in several threads
        options = {**_OPTIONS, "jax_compilation_cache_dir": str(folder)}
        self._before = {name: getattr(jax.config, name) for name in options}
        self._set(options)
        jax.monitoring.register_event_listener(self._on_event)
        jax.monitoring.register_event_duration_secs_listener(self._on_duration)

    @property
    def compiled(self) -> int:
        """The number of programs compiled since the cache was opened."""
        return self._made_ready - self.found

    def close(self) -> None:
        """Leave JAX as it was before: what is compiled from now on is not kept."""
        if self._before:
            jax.monitoring.unregister_event_listener(self._on_event)
            jax.monitoring.unregister_event_duration_listener(self._on_duration)
            self._set(self._before)
            self._before = {}

    def __enter__(self) -> "CompilationCache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __str__(self) -> str:
        return f"compiled: {self.compiled} programs; from the cache: {self.found}"

    @staticmethod
    def _set(options: dict[str, Any]) -> None:
        for name, value in options.items():
            jax.config.update(name, value)
        reset_cache()  # else JAX stays with the folder, or without the cache, that the process began with

    def _on_event(self, event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            with self._lock:
                self.found += 1

    def _on_duration(self, event: str, duration: float, **_: Any) -> None:
        # Of every program, found or compiled. JAX's event `cache_misses` is that of entries written: one that was
        # there and could not be used would be in neither count.
        if event == "/jax/core/compile/backend_compile_duration":
            with self._lock:
                self._made_ready += 1


def compilation_cache(folder: str | Path | None = None) -> CompilationCache:
    """Keep compiled programs in a folder, and read from it those that are there.

    What this process has compiled before is not affected: it is in memory. A folder may be removed at any time.

    Args:
        folder: by default `programs` in the folder that the environment variable `JAXFC_CACHE` names, or else in
            the user's cache folder for jaxfc. Entries are in a sub-folder for this kind of processor and this
            version of jaxlib.

    Returns:
        The cache, in use. It counts what it finds; close it, or use it as a context, to go on without.

    Raises:
        OSError: the folder cannot be made or written, is another user's, or others may write to it.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with compilation_cache(folder) as cache:
    ...         _ = jax.jit(lambda x: 2 * x)(np.ones(3))
    ...     print(cache)
    compiled: 1 programs; from the cache: 0
    """
    folder = default_folder() if folder is None else Path(folder).expanduser()
    return CompilationCache(_own(_own(folder) / machine()))


def default_folder() -> Path:
    """The folder of the cache where none is named; see `compilation_cache`.

    >>> default_folder().name
    'programs'
    """
    import pooch

    cache = os.environ.get("JAXFC_CACHE")
    return (Path(cache).expanduser() if cache else Path(pooch.os_cache("jaxfc"))) / "programs"


def machine() -> str:
    """The name of what an entry is good for: the version of jaxlib, the system, and a digest of the processor's kind.

    >>> machine() == machine(), machine().startswith("jaxlib-")
    (True, True)
    """
    import jaxlib

    system = f"{platform.system()}-{platform.machine()}"
    kind = [platform.processor(), *_processor(), *np.show_config(mode="dicts")["SIMD Extensions"]["found"]]
    return f"jaxlib-{jaxlib.__version__}-{system}-{hashlib.sha256(repr(kind).encode()).hexdigest()[:12]}"


def _processor() -> list[str]:
    """What Linux says of the first processor's model and features; nothing elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return []
    telling = ("vendor", "model", "cpu family", "stepping", "flags", "Features", "CPU ", "isa", "mmu")
    return [line for line in first.splitlines() if line.startswith(telling) and not line.startswith("cpu MHz")]


def _own(folder: Path) -> Path:
    """Make a folder for this user alone, or raise unless it is one that they alone can write to."""
    remedy = "name another folder, or none"
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder: {remedy}")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"{folder} cannot be written ({error.strerror}): {remedy}") from error
    if hasattr(os, "getuid"):
        status = folder.stat()
        if status.st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to another user, whose programs would be run: {remedy}")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            mode = stat.S_IMODE(status.st_mode)
            raise PermissionError(
                f"{folder} has mode {mode:o}: others could put programs there, which would be run: chmod 700 {folder}"
            )
    return folder
