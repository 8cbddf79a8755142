"""The callbacks of scikit-learn 1.9, and what stands in for them before."""

from collections.abc import Callable
from typing import Any

from jaxfc.training.result import EpochReport

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """An estimator without callbacks."""

    def with_callbacks(method: Callable) -> Callable:
        """The method as it is."""
        return method


class Epochs:
    """Tells an estimator's callbacks of a fit and its epochs; a callable that `jaxfc.fit` takes for a callback.

    Args:
        estimator: the estimator that is being fitted.
        epochs: how many epochs are planned; 0 where the fit is told of as a whole.
        told: what callbacks are told: X, y and metadata.
        fitted: makes of a training's state the attributes of the estimator as if it had stopped there.
    """

    def __init__(
        self, estimator: Any, epochs: int, told: dict[str, Any], fitted: Callable[[Any], dict[str, Any]] | None = None
    ) -> None:
        self.estimator, self.epochs, self.told, self.fitted = estimator, epochs, told, fitted
        self.whole = self.epoch = None

    @property
    def wanted(self) -> bool:
        """Whether there is anyone to tell."""
        return bool(getattr(self.estimator, "_skl_callbacks", ()))

    def begin(self) -> None:
        """The fit begins."""
        if self.wanted:
            self.whole = self.estimator._init_callback_context(max_subtasks=self.epochs)
            self.whole.call_on_fit_task_begin(estimator=self.estimator, **self.told)
            self._next()

    def __call__(self, report: EpochReport) -> bool:
        """An epoch has ended; whether a callback wants it to be the last."""
        attributes = None if self.fitted is None else lambda: self.fitted(report.state)
        done = self.epoch.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=attributes, **self.told
        )
        if report.epoch < self.epochs and not done:
            self._next()
        return bool(done)

    def end(self) -> None:
        """The fit has ended."""
        if self.whole is not None:
            self.whole.call_on_fit_task_end(estimator=self.estimator, reconstruction_attributes=dict, **self.told)

    def _next(self) -> None:
        if self.epochs:
            self.epoch = self.whole.subcontext(task_name="epoch")
            self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.told)
