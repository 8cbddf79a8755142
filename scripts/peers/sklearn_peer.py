"""scikit-learn: `MLPClassifier`, whose `fit` is a whole run and whose `partial_fit` is an epoch."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from peers import Outcome
from peers.work import Data, Work


class Sklearn:
    """`MLPClassifier` on float32 inputs normalized beforehand; the order of rows is its own."""

    def __init__(self, work: Work, data: Data, variant: str) -> None:
        self.work = work
        self.x, self.x_val = ((x - data.mean) * data.scale for x in (data.x, data.x_val))
        self.y, self.y_val = data.y, data.y_val
        self.classes = np.unique(data.y)
        self.note = "its time is without validation" if work.whole_run else ""

    def start(self) -> None:
        """Make a new classifier; it draws parameters when first fitted."""
        work = self.work
        self.model = MLPClassifier(
            work.hidden_dims,
            solver="adam" if work.rule == "adam" else "sgd",
            momentum=0.9,
            nesterovs_momentum=False,
            alpha=work.reg,
            batch_size=work.batch_size,
            learning_rate_init=work.learning_rate,
            max_iter=work.epochs,
            n_iter_no_change=10**6,
            random_state=0,
        )
        if work.weight_scale is not None:
            self._draw(work.weight_scale)

    def _draw(self, scale: float) -> None:
        """Overwrite its own initial parameters; a step on zeros makes it allocate them and hardly leaves a velocity."""
        rng = np.random.default_rng(0)
        rows = self.work.batch_size
        self.model.partial_fit(np.zeros_like(self.x[:rows]), self.y[:rows], classes=self.classes)
        for w, b in zip(self.model.coefs_, self.model.intercepts_, strict=True):
            w[:] = scale * rng.standard_normal(w.shape, w.dtype)
            b[:] = 0

    def train(self, plans: np.ndarray) -> Outcome:
        """Train for as many epochs as there are plans; losses are the epochs' means."""
        if self.work.whole_run:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # it is told to stop after so many epochs
                self.model.fit(self.x, self.y)
            return Outcome(self.model.loss_curve_)
        rows = plans[0].size
        for _ in plans:
            self.model.partial_fit(self.x[:rows], self.y[:rows], classes=self.classes)
        return Outcome(self.model.loss_curve_[-len(plans) :])

    def accuracy(self) -> float:
        """The accuracy of the parameters as they are."""
        return float(self.model.score(self.x_val, self.y_val))
