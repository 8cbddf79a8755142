"""What a long run and its user have to do with each other: a progress bar, and Ctrl-C."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, NoReturn


def progress_bar(show: bool | None, *, total: int, done: int, unit: str) -> Any:
    """A tqdm bar; with `show` None, shown on a terminal and in a notebook."""
    if show is None:
        show = sys.stderr.isatty() or _in_notebook()
    if show:
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm(total=total, initial=done, unit=unit, disable=not show, dynamic_ncols=True)


@contextmanager
def to_whoever_listens() -> Iterator[None]:
    """Let what is printed get lost where the terminal is gone; SIGHUP, which says so, may come a moment later."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO:
            raise


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel; to have IPython imported does not make it one."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


class _CleanEnd(NamedTuple):
    """A loop that ends by itself once the event is set."""

    interrupted: threading.Event
    stopping: str


_clean_ends: list[_CleanEnd] = []  # on offer, the innermost last
_listening = threading.Event()


@contextmanager
def interrupts(stopping: str = "at the end of this epoch") -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event that the caller's loop looks at; a second one interrupts at once.

    Args:
        stopping: when the loop will stop, for the message.
    """
    interrupted = threading.Event()
    if _listening.is_set():  # in the command, a thread of its own hears Ctrl-C
        _clean_ends.append(_CleanEnd(interrupted, stopping))
        try:
            yield interrupted
        finally:
            _clean_ends.pop()
        return
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def on_interrupt(*_: Any) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, previous)
        print(_message("interrupted", stopping), file=sys.stderr)

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)


def _message(what: str, stopping: str) -> str:
    return f"{what}: stopping {stopping} (Ctrl-C again to stop at once)"


WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """For the length of a command, have Ctrl-C, SIGTERM and SIGHUP end it: cleanly, or at once.

    The first ends a loop that offers a clean end (see `interrupts`). Where there is none, and a second time, the
    process ends at once, with code 128 + the signal's number: files are written whole or not at all, so nothing is
    lost. Nothing is raised in the main thread: it may be in the middle of a program that runs for minutes, or
    of JAX's start, neither of which an exception could end well. So a thread of its own hears the signals.
    A signal that the process was told to ignore (by `nohup`, say) stays ignored. On Windows, all is as it was.
    """
    if os.name != "posix":
        yield
        return
    numbers = [getattr(signal, name) for name in WORDS]
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
    heard, sender = os.pipe()
    os.set_blocking(sender, False)
    listener = threading.Thread(target=_listen, args=(heard, set(before), terminals), daemon=True)
    listener.start()
    wakeup = signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    for number in before:
        signal.signal(number, lambda *_: None)  # the interpreter tells the descriptor, even inside a program
    _listening.set()
    try:
        yield
    finally:
        _listening.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(sender)
        listener.join()
        os.close(heard)


def _listen(heard: int, numbers: set[int], terminals: list[int]) -> None:
    first, closed = True, False
    while byte := os.read(heard, 1):
        if byte[0] not in numbers:
            continue
        number = signal.Signals(byte[0])
        if number.name == "SIGHUP" and terminals:
            if closed:  # a terminal that closes may say so twice: to its session's leader, and to the command
                continue
            _leave(terminals)
            closed = True
        offers = _clean_ends[-1:]
        if not first or not offers:
            _quit(number)
        first = False
        for interrupted, stopping in offers:
            interrupted.set()
            _say(_message(WORDS[number.name], stopping))


def _leave(terminals: list[int]) -> None:
    """Write to terminals that are gone no more: that would raise."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in terminals:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _quit(number: signal.Signals) -> NoReturn:
    """End the process: no handler, no thread and no destructor is waited for."""
    _say(f"jaxfc: {WORDS[number.name]}")
    os._exit(128 + number)


def _say(line: str) -> None:
    with suppress(OSError):  # nobody may be there to read it
        os.write(2, f"{line}\n".encode())
