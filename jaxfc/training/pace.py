"""How many epochs a machine trains in a given time: some steps are timed, and the rest is a sum."""

import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from jaxfc.data import Dataset
from jaxfc.parallel import MeshSpec
from jaxfc.training.config import TrainConfig
from jaxfc.training.fit import carry_out
from jaxfc.training.prepare import prepare

STEPS, EPOCHS = 20, 3  # that are timed: so many epochs of so many steps, after one that is not
SAMPLE = 1000  # training rows that are measured, as in `jaxfc.fit`
MARGIN = 0.03  # of the time given, for what is not foreseen
AFTER = 2.0  # seconds, for the last measures, files and curves


class Pace(NamedTuple):
    """What a run's parts take on this machine, in seconds.

    Args:
        step: a step.
        measuring: measuring the network after an epoch.
        compiling: compiling the program.
        ending: all after the last epoch: the last measures, files and curves.

    >>> Pace(step=0.01, measuring=1.0, compiling=2.0).epochs(60, iterations=100)
    26
    """

    step: float
    measuring: float
    compiling: float
    ending: float = AFTER

    def epoch(self, iterations: int) -> float:
        """The seconds of an epoch."""
        return iterations * self.step + self.measuring

    def epochs(self, seconds: float, iterations: int) -> int:
        """How many epochs end in so many seconds, compilation and all that comes after them included."""
        left = seconds * (1 - MARGIN) - self.compiling - self.measuring - self.ending
        return max(int(left / self.epoch(iterations)), 0)

    def check(self, minutes: float, gone: float, iterations: int) -> int:
        """The epochs that end in so many minutes, of which some seconds are gone.

        Raises:
            ValueError: not one does.

        >>> Pace(step=0.1, measuring=1.0, compiling=2.0).check(0.1, gone=3, iterations=100)
        Traceback (most recent call last):
        ValueError: minutes=0.1: an epoch takes about 11 s here, and all before and after it 8 s: give at least 0.4
        """
        epochs = self.epochs(60 * minutes - gone, iterations)
        if not epochs:
            beside = gone + self.compiling + self.measuring + self.ending
            least = (beside + self.epoch(iterations)) / (1 - MARGIN) / 60
            raise ValueError(
                f"minutes={minutes:g}: an epoch takes about {self.epoch(iterations):.2g} s here, and all before and "
                f"after it {beside:.2g} s: give at least {np.ceil(least * 10) / 10:g}"
            )
        return epochs


def pace(config: TrainConfig, data: Dataset, *, stream: bool | None = None, mesh: MeshSpec | None = None) -> Pace:
    """Time some steps of a run, and what is measured after each epoch. Nothing is written.

    Measuring is told from the steps by its operations: a row that is measured takes a third of one that is trained on.

    Args:
        config: the run's settings.
        data: its data.
        stream: as the run's.
        mesh: as the run's.

    Raises:
        ValueError, TypeError: as `jaxfc.fit`.

    >>> from jaxfc.data import load
    >>> pace(TrainConfig(hidden=(8,)), load("digits")).step > 0
    True
    """
    few = data.subset(min(STEPS * config.batch_size, len(data.x_train)))
    net, task, rule, hyper = config.build(few, len(few.x_train))
    settings = replace(config.settings, epochs=1 + EPOCHS, patience=None)
    ends: list[float] = []
    begin = time.perf_counter()
    prepared = prepare(net, rule, few, settings, task=task, hyper=hyper, group=1, stream=stream, mesh=mesh)
    carry_out(prepared, callbacks=[lambda _: ends.append(time.perf_counter())], verbose=False, progress=False)
    epoch = float(np.median(np.diff(ends)))
    measured = (len(data.x_val) + min(SAMPLE, len(few.x_train))) / (3 * config.batch_size)
    step = epoch / (len(few.x_train) // config.batch_size + measured)
    # A copy that predictions are averaged over is augmented too, row by row: about half of what training on it takes.
    copies = config.tta * (len(data.x_val) + (0 if data.x_test is None else len(data.x_test)))
    ending = AFTER + measured * step + copies / (2 * config.batch_size) * step
    return Pace(step, measured * step, max(ends[0] - begin - epoch, 0.0), ending)


def since_the_process_began() -> float:
    """The seconds since this process was started.

    >>> since_the_process_began() > 0
    True
    """
    import psutil

    return time.time() - psutil.Process().create_time()
