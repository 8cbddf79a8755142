"""What a long run and its user have to do with each other: a progress bar, and Ctrl-C."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def progress_bar(show: bool | None, *, total: int, done: int, unit: str) -> Any:
    """A tqdm bar; with `show` None, shown on a terminal and in a notebook."""
    if show is None:
        show = sys.stderr.isatty() or _in_notebook()
    if show:
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm(total=total, initial=done, unit=unit, disable=not show, dynamic_ncols=True)


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel; to have IPython imported does not make it one."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


@contextmanager
def interrupts(stopping: str = "at the end of this epoch") -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event that the caller's loop looks at; a second one interrupts at once.

    Args:
        stopping: when the loop will stop, for the message.
    """
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def on_interrupt(*_: Any) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, previous)
        print(f"interrupted: stopping {stopping} (Ctrl-C again to stop at once)", file=sys.stderr)

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
