"""Where and with what a run is done: the machine, versions, and how long an import takes."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.workers import environment

PACKAGES = ("jaxfc", "jax", "jaxlib", "numpy", "torch", "flax", "equinox", "optax", "scikit-learn")
PROBE = """
import json, time
start = time.perf_counter()
import jax
middle = time.perf_counter()
import jaxfc
end = time.perf_counter()
print(json.dumps({"jax": middle - start, "jaxfc": end - middle}))
"""


def import_time() -> dict[str, float]:
    """Seconds that `import jax` takes, and that `import jaxfc` takes on top of it."""
    command = [sys.executable, "-c", PROBE]
    outputs = [subprocess.run(command, env=environment(), capture_output=True, text=True, check=True) for _ in range(3)]
    times = [json.loads(output.stdout.splitlines()[-1]) for output in outputs]
    return {name: median(t[name] for t in times) for name in ("jax", "jaxfc")}


def machine() -> dict[str, Any]:
    """Describe processor, cores, and the device that JAX computes on."""
    command = [sys.executable, "-c", "import jax; print(jax.default_backend(), jax.devices()[0].device_kind, sep='|')"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench.py: JAX does not start: {done.stderr.strip().splitlines()[-1]}")
    backend, kind = done.stdout.splitlines()[-1].split("|")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": cpu_name(), "cores": cores, "backend": backend, "device": kind, "python": platform.python_version()}


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of the packages compared, as far as they are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
