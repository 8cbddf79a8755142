"""The memory that there is."""

from pathlib import Path
from typing import Any


def free_bytes(device: Any = None) -> int:
    """The memory that is free on a device; on a CPU, to this process, whose control group may allow it less.

    >>> free_bytes() > 0
    True
    """
    stats = None if device is None or device.platform == "cpu" else device.memory_stats()
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
