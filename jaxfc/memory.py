"""How much memory there is, and refusing work that needs more, before any of it is taken.

What there is, is the least of what the machine has free, what is left to this process's control groups (of version 2
or 1: those of containers and batch systems) and what `ulimit -v` leaves it; on an accelerator, what the device says.
Needs are counted by whoever knows them: `jaxfc.training.needs` those of a training.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxfc.errors import OutOfMemoryError

UNITS = (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
GROUPS = Path("/sys/fs/cgroup")
# Of version 2, of version 1: the limit, what is used, what of that the kernel can have back, and where.
FORMS = (
    ("memory.max", "memory.current", "inactive_file", ""),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "memory"),
)


def free_bytes(device: Any = None) -> int:
    """The memory that is free on a device; on a CPU (and without a device), to this process.

    >>> free_bytes() > 0
    True
    """
    stats = device.memory_stats() if device is not None and device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    import psutil

    return max(min([psutil.virtual_memory().available, *in_control_groups(), *under_limits()]), 0)


def check_memory(what: str, needs: Mapping[str, int] | int, remedy: str, device: Any = None) -> None:
    """Raise unless there is as much memory as something needs.

    Args:
        what: what needs it, for the message.
        needs: bytes; or bytes by what they are for, of which the message names the three that need most.
        remedy: what to change.
        device: where; by default in the host's memory.

    Raises:
        OutOfMemoryError: there is less. The message has both figures.

    >>> check_memory("a network", {"parameters": 3 * 10**15, "data": 0}, "lower --hidden")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jaxfc.errors.OutOfMemoryError: a network needs about 3 PB of memory (parameters 3 PB) where ... are free: ...
    """
    parts = needs if isinstance(needs, Mapping) else {}
    total = sum(parts.values()) if parts else needs
    if total < 2**24:  # not worth a look: there always is so much
        return
    free = free_bytes(device)
    if total > free:
        most = sorted(parts.items(), key=lambda part: -part[1])[:3]
        named = ", ".join(f"{name} {in_units(count)}" for name, count in most if count)
        raise OutOfMemoryError(
            f"{what} needs about {in_units(total)} of memory{f' ({named})' if named else ''} where "
            f"{in_units(free)} are free: {remedy}"
        )


def in_units(count: int) -> str:
    """Bytes as people read them, to three digits.

    >>> in_units(1234567), in_units(12), in_units(10**21)
    ('1.23 MB', '12 bytes', '1e+06 PB')
    """
    for unit, size in UNITS:
        if count >= size:
            return f"{min(count, 10**300) / size:.3g} {unit}"
    return f"{count} bytes"


def in_control_groups(root: Path = GROUPS, process: Path = Path("/proc/self/cgroup")) -> list[int]:
    """What is left to each control group that this process is in; nothing where there is no limit.

    >>> in_control_groups(Path("/nowhere"))
    []
    """
    left = []
    for limit, used, reclaimable, controller in FORMS:
        for folder in _groups(root / controller, process, controller):
            try:
                most, now = (int((folder / name).read_text()) for name in (limit, used))
            except (OSError, ValueError):  # no such file, or "max"
                continue
            left.append(most - now + _reclaimable(folder / "memory.stat", reclaimable))
    return left


def _groups(root: Path, process: Path, controller: str) -> Iterable[Path]:
    """The folders of a process's control group and of those above it, as far as they can be seen from in here."""
    try:
        lines = [line.split(":", 2) for line in process.read_text().splitlines()]
    except OSError:
        lines = []
    own = next((path for _, names, path in lines if controller in names.split(",")), "/")
    group = root / own.lstrip("/")
    return dict.fromkeys([*(each for each in (group, *group.parents) if root in each.parents), root])


def _reclaimable(path: Path, name: str) -> int:
    """Bytes of files that a group has in memory and has not used for a while."""
    try:
        return next((int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(f"{name} ")), 0)
    except (OSError, ValueError, IndexError):
        return 0


def under_limits() -> list[int]:
    """What `ulimit -v` leaves to this process; nothing where there is no such limit.

    >>> all(left >= 0 for left in under_limits())
    True
    """
    try:
        import resource
    except ImportError:  # Windows has none
        return []
    import psutil

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return [] if limit == resource.RLIM_INFINITY else [max(limit - psutil.Process().memory_info().vms, 0)]
