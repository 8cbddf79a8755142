"""The ledger that workers share: an Optuna study in which every candidate is entered, and claimed by one of them.

An entry is a trial of the study. It waits; a worker claims it; it ends with its course noted in it, or without,
where its worker left or died: then the candidate is entered once more. Whatever must not happen twice (to make the
study, to claim, to note a course, to end an entry) is one step of Optuna's storage, which lets one worker through and
refuses the others. Where two enter a candidate at once, the first entry counts.

A worker that lives says so in the study, with a number that grows. Others look at that number by their own clocks:
clocks of several machines need not agree.
"""

import hashlib
import json
import os
import re
import secrets
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxfc.training.identity import versions

if TYPE_CHECKING:
    import optuna

CANDIDATE, ATTEMPT, COURSE, SEARCH, WORKER = "candidate", "attempt", "course", "jaxfc search", "worker "
BEATS = 5  # signs of life within a lease


class Sharing(NamedTuple):
    """Where workers share a search.

    Args:
        storage: the file of a journal, made if it is not there; or the URL of a database, as SQLAlchemy has it.
        name: the name of the study in it.
        lease: after so many seconds without a sign of life a worker is taken for dead.

    >>> Sharing("journal.log").name
    'jaxfc'
    """

    storage: str
    name: str = "jaxfc"
    lease: float = 60.0

    def check(self) -> None:
        """Raise a ValueError unless this can be a study.

        >>> Sharing("journal.log", lease=0).check()
        Traceback (most recent call last):
        ValueError: lease=0 must be at least 1 second
        """
        if not self.lease >= 1:
            raise ValueError(f"lease={self.lease} must be at least 1 second")
        if not self.name:
            raise ValueError("study_name='': name the study")


class Survey(NamedTuple):
    """How a search stands.

    Args:
        waiting: the candidates that wait for a worker.
        running: those that workers have claimed, this one or others.
        courses: what was noted of each of those that are done.
        workers: how many workers live.
    """

    waiting: list[int]
    running: list[int]
    courses: dict[int, dict[str, Any]]
    workers: int


def latest(trials: "Sequence[optuna.trial.FrozenTrial]", total: int) -> "list[optuna.trial.FrozenTrial | None]":
    """The entry that counts of each candidate: the one that is done, or else the first one of its last attempt."""
    found: list[optuna.trial.FrozenTrial | None] = [None] * total
    for trial in trials:
        candidate, attempt = (trial.user_attrs.get(name) for name in (CANDIDATE, ATTEMPT))
        if attempt is None:
            continue  # somebody else's
        before = found[candidate]
        if before is None or (COURSE not in before.user_attrs and attempt > before.user_attrs[ATTEMPT]):
            found[candidate] = trial
    return found


class Ledger:
    """A worker's view of the study, and its pen.

    Args:
        sharing: where it is.
        fingerprint: what makes the search this one; JSON can hold it. All workers must have the same.
        entry: for a candidate, its parameters and their distributions, as the study shows them.
        total: how many candidates there are.
        higher: whether more of the score is better.
        clock: tells the time, in seconds.

    Raises:
        ValueError: the study is of another search; the first difference is named.
        OSError: the storage cannot be used.
    """

    def __init__(
        self,
        sharing: Sharing,
        fingerprint: Mapping[str, Any],
        entry: Callable[[int], tuple[dict[str, Any], dict[str, Any]]],
        total: int,
        *,
        higher: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self.total, self.lease = total, sharing.lease
        self._entry, self._clock = entry, clock
        self._claimed: dict[int, optuna.trial.FrozenTrial] = {}
        self._signs: dict[Any, tuple[Any, float]] = {}
        self._beats, self._left, self._pen = 0, threading.Event(), threading.Lock()
        with _as_os_error():
            self._open(sharing, _digests({**fingerprint, "lease": sharing.lease}), higher)
            self._beat()

    def __enter__(self) -> "Ledger":
        self._heart = threading.Thread(target=self._live, daemon=True)
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave: what is claimed and not done is entered anew, for others."""
        self._left.set()
        self._heart.join()
        with suppress(Exception):  # the storage may be why this ends; others will miss the signs of life
            for candidate in list(self._claimed):
                self._give_back(self._claimed.pop(candidate))
            self._beat()

    # -----------------------------------------------------------------------------------------------
    # The study
    # -----------------------------------------------------------------------------------------------

    def _open(self, sharing: Sharing, mine: dict[str, str], higher: bool) -> None:
        import optuna

        # What it says of a study made or found is for those who write programs with it.
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(max(verbosity, optuna.logging.WARNING))
        try:
            self._storage = _storage(sharing.storage)
            direction = "maximize" if higher else "minimize"
            try:
                where = {"study_name": sharing.name, "storage": self._storage}
                self._study = optuna.create_study(direction=direction, **where)
            except optuna.exceptions.DuplicatedStudyError:
                self._study = optuna.load_study(**where)
                self._compare(sharing, mine)
            else:  # one worker alone makes the study, and enters everything
                self._study.set_user_attr(SEARCH, mine | {"versions": versions()})
                for candidate in range(self.total):
                    self._enter(candidate, 0)
        finally:
            optuna.logging.set_verbosity(verbosity)

    def _compare(self, sharing: Sharing, mine: dict[str, str]) -> None:
        until = self._clock() + self.lease
        while (theirs := self._study.user_attrs.get(SEARCH)) is None:
            if self._study.get_trials(deepcopy=False) or self._clock() > until:
                raise ValueError(
                    f"the study {sharing.name!r} is of no jaxfc search: name another --study-name, or another --study"
                )
            time.sleep(0.1)  # it was made a moment ago
        for name in mine:
            if theirs.get(name) != mine[name]:
                raise ValueError(
                    f"the study {sharing.name!r} is of another search (its {name} differ): start all workers with the "
                    "same flags, or name another --study-name"
                )
        for name, version in versions().items():
            if theirs["versions"].get(name) != version:
                before = theirs["versions"].get(name)
                warnings.warn(
                    f"the study {sharing.name!r} was begun with {name} {before}, this is {version}: the last digits "
                    "may differ",
                    stacklevel=4,
                )

    def _enter(self, candidate: int, attempt: int) -> None:
        from optuna.trial import TrialState, create_trial

        params, distributions = self._entry(candidate)
        attrs = {CANDIDATE: candidate, ATTEMPT: attempt}
        self._study.add_trial(
            create_trial(state=TrialState.WAITING, params=params, distributions=distributions, user_attrs=attrs)
        )

    # -----------------------------------------------------------------------------------------------
    # Signs of life
    # -----------------------------------------------------------------------------------------------

    def _live(self) -> None:
        while not self._left.wait(self.lease / BEATS):
            with suppress(Exception):  # the next one may get through
                self._beat()

    def _beat(self) -> None:
        with self._pen:
            self._beats += 1
            held = sorted(trial.number for trial in self._claimed.copy().values())
            self._study.set_user_attr(
                WORKER + self.worker, {"beats": self._beats, "holds": held, "left": self._left.is_set()}
            )

    def _silent(self, what: Any, sign: Any) -> bool:
        """Whether something has shown the same sign for the length of a lease, by this worker's clock."""
        now = self._clock()
        before, since = self._signs.get(what, (None, now))
        if sign != before:
            since = now
        self._signs[what] = sign, since
        return now - since > self.lease

    # -----------------------------------------------------------------------------------------------
    # Entries
    # -----------------------------------------------------------------------------------------------

    def survey(self) -> Survey:
        """Look how the search stands; what dead workers have left is entered anew.

        Raises:
            OSError: the storage cannot be used.
        """
        from optuna.trial import TrialState

        with _as_os_error():
            trials = self._study.get_trials(deepcopy=False)
            holders, workers = self._workers()
            survey = Survey([], [], {}, workers)
            for candidate, trial in enumerate(latest(trials, self.total)):
                attempt = -1 if trial is None else trial.user_attrs[ATTEMPT]
                if trial is None or (trial.state == TrialState.FAIL and COURSE not in trial.user_attrs):
                    # Whoever was about to enter it died before.
                    if self._silent(("missing", candidate), attempt):
                        self._enter(candidate, attempt + 1)
                elif COURSE in trial.user_attrs:
                    survey.courses[candidate] = trial.user_attrs[COURSE]
                elif trial.state == TrialState.WAITING:
                    survey.waiting.append(candidate)
                elif candidate in self._claimed or not self._silent(candidate, (attempt, holders.get(trial.number))):
                    survey.running.append(candidate)
                else:
                    self._give_back(trial)
            self._latest = latest(trials, self.total)
        return survey

    def _workers(self) -> tuple[dict[int, Any], int]:
        """The last sign of life of each entry's holder, and how many workers live."""
        holders, alive = {}, 1
        for name, said in self._study.user_attrs.items():
            if not name.startswith(WORKER) or said["left"]:
                continue
            sign = name, said["beats"]
            holders |= dict.fromkeys(said["holds"], sign)
            alive += name != WORKER + self.worker and not self._silent(name, sign)
        return holders, alive

    def _give_back(self, trial: "optuna.trial.FrozenTrial") -> None:
        """End an entry that nobody works at, and enter its candidate anew, unless another worker did."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        with suppress(UpdateFinishedTrialError):
            if self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL):
                self._enter(trial.user_attrs[CANDIDATE], trial.user_attrs[ATTEMPT] + 1)

    def claim(self, candidates: Sequence[int], count: int) -> list[int]:
        """Claim so many of these candidates, which waited at the last survey: where no other worker was quicker.

        Raises:
            OSError: the storage cannot be used.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        claimed: list[int] = []
        with _as_os_error():
            for candidate in candidates:
                if len(claimed) == count:
                    break
                trial = self._latest[candidate]
                with suppress(UpdateFinishedTrialError):
                    if self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                        self._claimed[candidate] = trial
                        claimed.append(candidate)
            if claimed:
                self._beat()
        return claimed

    def note(self, candidate: int, course: dict[str, Any], score: float | None) -> bool:
        """Note the course of a claimed candidate, and its score (None: it diverged).

        Returns:
            False where the claim was lost: this worker was silent for too long, and another trains the candidate.

        Raises:
            OSError: the storage cannot be used.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        with _as_os_error():
            trial = self._claimed.pop(candidate)._trial_id
            try:
                self._storage.set_trial_user_attr(trial, COURSE, course)
            except UpdateFinishedTrialError:
                return False
            state = TrialState.FAIL if score is None else TrialState.COMPLETE
            with suppress(UpdateFinishedTrialError):  # the course is what counts
                self._storage.set_trial_state_values(trial, state, None if score is None else [score])
        return True


def _digests(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """A short text for each part of a fingerprint: a database's cells are small."""
    parts = {name: json.dumps(part, default=list, sort_keys=True).encode() for name, part in fingerprint.items()}
    return {name: hashlib.sha256(part).hexdigest()[:16] for name, part in parts.items()}


def _storage(where: str) -> Any:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if re.match(r"[a-z0-9+]+://", where):
        return RDBStorage(
            where, engine_kwargs={"connect_args": {"timeout": 60}} if where.startswith("sqlite") else None
        )
    if os.path.isdir(where) or not os.path.isdir(os.path.dirname(os.path.abspath(where))):
        raise OSError(f"--study {where}: name a file in a folder that is there, or a database's URL")
    where = os.path.abspath(where)
    lock = JournalFileOpenLock(where) if os.name == "nt" else None  # where a symbolic link is a privilege
    try:
        return JournalStorage(JournalFileBackend(where, lock_obj=lock))
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(f"--study {where} is no journal of Optuna's ({error}): name another file") from None


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Make what a database says, in many lines, the error of one line that it is."""
    try:
        import optuna
    except ImportError:
        raise ValueError("a shared search needs Optuna: pip install 'jaxfc[optuna]'") from None
    try:
        yield
    except (optuna.exceptions.StorageInternalError, ImportError) as error:
        cause = error.__cause__ or error
        raise OSError(f"the study's storage cannot be used: {str(cause).splitlines()[0]}") from error
    except Exception as error:
        if type(error).__module__.startswith("sqlalchemy"):
            raise OSError(f"the study's storage cannot be used: {str(error).splitlines()[0]}") from error
        raise
