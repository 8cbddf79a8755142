"""Several processes that do one run, on one machine or many: how they find each other, agree, and end.

JAX's runtime joins them; a mesh then has the devices of all. All of them run the same program on their parts. The
first one alone prints and writes. One that is lost ends the others, which cannot go on without its part: the run goes
on from its checkpoint.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import jax
import numpy as np

from jaxfc.description import first_difference

GRACE = 1.0  # seconds, of the first process that leaves, for others to say why they do
HEARTBEAT = 30  # seconds without a sign of life after which a process is lost
LOST = "another process of the run was lost: end the others, and go on with the run by --resume"
LOSSES = ("Gloo", "coordination", "distributed service", "heartbeat")  # what an error says that has that cause


class Joining(NamedTuple):
    """How processes find each other.

    Args:
        distributed: whether there are several.
        coordinator: where the first one listens, HOST:PORT; by default as the cluster's environment says (Slurm,
            Kubernetes, Open MPI, Cloud TPU).
        num_processes: how many there are; likewise.
        process_id: which of them this is, from 0; likewise.
        timeout: how many seconds to wait for the others.

    >>> Joining(coordinator="10.0.0.1:1234", num_processes=2, process_id=0).several
    True
    """

    distributed: bool = False
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    timeout: int = 300

    @property
    def several(self) -> bool:
        """Whether there are several processes to join."""
        return self.distributed or any(each is not None for each in self[1:4])

    def check(self) -> None:
        """Raise a ValueError for what cannot be.

        >>> Joining(coordinator="here").check()
        Traceback (most recent call last):
        ValueError: coordinator='here': write HOST:PORT, where process 0 listens
        """
        given = {"coordinator": self.coordinator, "num_processes": self.num_processes, "process_id": self.process_id}
        if self.coordinator is not None:
            host, _, port = self.coordinator.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536:
                raise ValueError(f"coordinator={self.coordinator!r}: write HOST:PORT, where process 0 listens")
            for name, value in given.items():
                if value is None:
                    raise ValueError(f"coordinator={self.coordinator!r} needs {name} too")
        if self.num_processes is not None and self.num_processes < 1:
            raise ValueError(f"num_processes={self.num_processes} must be at least 1")
        if self.process_id is not None and not 0 <= self.process_id < (self.num_processes or self.process_id + 1):
            raise ValueError(f"process_id={self.process_id} must be from 0 to {self.num_processes} - 1")
        if self.timeout < 1:
            raise ValueError(f"join_timeout={self.timeout} must be at least 1 second")


@contextlib.contextmanager
def joined(joining: Joining) -> Iterator[None]:
    """Join the other processes for the length of a command; but in the first, nothing is printed.

    The command ends in here: where an error ends it, the others are not waited for (see `leave_others`).

    Args:
        joining: how they find each other.

    Raises:
        ValueError: what cannot be; no cluster to be joined.
        OSError: the first process cannot be reached, or its port is in use.
        ConnectionError: another process was lost.

    >>> with joined(Joining()):
    ...     jax.process_count()
    1
    """
    if not joining.several:
        yield
        return
    joining.check()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # which would hear SIGTERM in this command's place
    with _epitaph(f"not all processes of the run came within {joining.timeout} seconds: start them all") as printed:
        _meet(joining)
        _say_last(LOST)
        try:
            with contextlib.redirect_stdout(open(os.devnull, "w") if jax.process_index() else printed):
                yield
        except Exception as error:
            if any(word in str(error) for word in LOSSES) and not isinstance(error, OSError):
                raise ConnectionError(LOST) from error
            raise
        printed.flush()
        jax.distributed.shutdown()


def _meet(joining: Joining) -> None:
    where = joining.coordinator
    if where is not None:
        host, _, port = where.rpartition(":")
        if joining.process_id == 0:
            _check_free(host, int(port))
        else:
            _wait_for(host, int(port), joining.timeout)
    names = "coordinator_address", "num_processes", "process_id"
    given = {name: value for name, value in zip(names, joining[1:4], strict=True) if value is not None}
    if where is not None:
        given["cluster_detection_method"] = "deactivate"
    try:
        how = {"initialization_timeout": joining.timeout, "heartbeat_timeout_seconds": HEARTBEAT}
        jax.distributed.initialize(**given, **how, shutdown_timeout_seconds=2 * HEARTBEAT)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"no cluster of processes was found ({error}): name --coordinator, --num-processes and --process-id"
        ) from None


def _check_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            why = error.strerror
            raise OSError(f"coordinator={host}:{port}: cannot listen there ({why}): name a free port") from None


def _wait_for(host: str, port: int, timeout: int) -> None:
    """Wait for the first process to listen."""
    until, why = time.monotonic() + timeout, "no answer"
    while time.monotonic() < until:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            why = error.strerror or str(error)
            time.sleep(0.2)
    raise TimeoutError(
        f"coordinator={host}:{port}: process 0 was not there within {timeout} seconds ({why}): start it, or wait "
        "longer with --join-timeout"
    )


# ---------------------------------------------------------------------------------------------------
# Agreeing
# ---------------------------------------------------------------------------------------------------


def check_alike(settings: Mapping[str, Any]) -> None:
    """Raise in every process unless all were started with the same settings.

    Raises:
        ValueError: they were not; the first difference is named.

    >>> check_alike({"epochs": 3})
    """
    if jax.process_count() == 1:
        return
    from jax.experimental.multihost_utils import process_allgather

    mine = json.dumps(settings, default=str, sort_keys=True).encode()
    lengths = process_allgather(np.int32(len(mine)))
    padded = np.frombuffer(mine.ljust(int(lengths.max())), np.uint8)
    first, *others = (json.loads(bytes(each)) for each in process_allgather(padded))
    for number, other in enumerate(others, start=1):
        if (found := first_difference(first, other)) is not None:
            name, theirs, its = found
            raise ValueError(
                f"process {number} has {name}={its!r}, and process 0 has {theirs!r}: start all with the same settings, "
                "data and checkpoint"
            )


def any_process(mine: bool) -> bool:
    """Whether this is so in any of the processes, which all have to ask.

    >>> any_process(True)
    True
    """
    if jax.process_count() == 1:
        return mine
    from jax.experimental.multihost_utils import process_allgather

    return bool(process_allgather(np.array(mine)).any())


# ---------------------------------------------------------------------------------------------------
# Ending
# ---------------------------------------------------------------------------------------------------


def leave_others(code: int) -> None:
    """End this process at once, if it is one of several: to leave in good order would be to wait for the others.

    >>> leave_others(1)  # alone
    """
    if jax.distributed.is_initialized():
        sys.stderr.flush()
        if jax.process_index() == 0:  # an error may be everyone's: once this one is gone, the runtime ends the others
            time.sleep(GRACE)
        os._exit(code)


@contextlib.contextmanager
def _epitaph(last: str) -> Iterator[TextIO]:
    """Have standard error, and what the runtime prints, go by way of a process that knows what to leave out.

    Yields what the command's own output goes to.
    """
    script = Path(__file__).with_name("epitaph.py")
    sys.stdout.flush()
    sys.stderr.flush()
    out, err = os.dup(1), os.dup(2)
    command = [sys.executable, "-S", str(script)]
    reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=err, stderr=err, start_new_session=True)
    for descriptor in (1, 2):
        os.dup2(reader.stdin.fileno(), descriptor)
    reader.stdin.close()
    _say_last(last)
    yield os.fdopen(out, "w", buffering=1)
    # Not where an error ended the command: its line is yet to come, and then the process leaves.
    sys.stderr.flush()
    os.dup2(out, 1)
    os.dup2(err, 2)
    reader.wait()


def _say_last(line: str) -> None:
    os.write(2, f"\0jaxfc: {line}\n".encode())
