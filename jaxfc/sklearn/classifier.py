"""A classifier of one network."""

from typing import Any

import numpy as np
from sklearn.utils.multiclass import _check_partial_fit_first_call

from jaxfc.sklearn.callbacks import with_callbacks
from jaxfc.sklearn.kinds import Classes
from jaxfc.sklearn.single import OneNetwork


class FCClassifier(Classes, OneNetwork):
    """A fully-connected network for tables, as a scikit-learn classifier.

    Of two or more classes, or of several labels to a row. Frames go in with their text, categories, dates
    and missing values; what becomes of them is part of the model. Parameters that are None are chosen by the table; see
    `jaxfc.training.recipes`.

    Args:
        hidden: the hidden layers' widths; `()` for a linear model.
        activation: relu, leaky_relu, tanh, sigmoid, silu or gelu.
        epochs: passes over the rows, about: as many batches as fill the length that rows are filled up to.
        batch_size: rows in a batch; all, if there are fewer.
        learning_rate: of AdamW, at the start.
        weight_decay: of AdamW.
        dropout_keep_ratio: the ratio of activations kept by dropout; 1 for none.
        label_smoothing: in [0, 1), of the loss of classes.
        class_weight: `"balanced"`, or weights by class.
        numbers: plain, periodic or piecewise: how numbers are embedded; see `jaxfc.networks.TableNet`.
        categories: one-hot or embed, of those with more than 8 values.
        columns: what columns hold, by name or by place: `"number"`, `"category"`, `"date"`, or `"skip"`. Those not
            named are numbers in an array and in a frame of numbers alone; in other frames they are recognized, as by
            `jaxfc.data.recognize`.
        early_stopping: hold rows out, stop once they are no better predicted, and keep the best epoch's network.
        validation_fraction: how many to hold out, by class; none where `fit` is given `X_val` and `y_val`.
        n_iter_no_change: epochs without a better score, with which to stop.
        warm_start: go on from the network of the last `fit`.
        random_state: of initial weights, the order of rows, dropout and what is held out.
        verbose: print each epoch's loss.

    Attributes:
        classes_: the classes; of labels their numbers.
        model_: the trained `jaxfc.Model`, to save, to evaluate or to export.
        loss_curve_: each epoch's mean loss.
        loss_: the last of them.
        n_iter_: the number of epochs trained.
        validation_scores_: each epoch's accuracy (of labels F1) on validation rows; None without.
        best_validation_score_: the best of them.
        n_features_in_: the number of columns.
        feature_names_in_: their names, if they are text.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> FCClassifier(hidden=(32,), random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    def __init__(
        self,
        hidden: Any = None,
        *,
        activation: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        dropout_keep_ratio: float | None = None,
        label_smoothing: float | None = None,
        class_weight: Any = None,
        numbers: str | None = None,
        categories: str | None = None,
        columns: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout_keep_ratio = dropout_keep_ratio
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.numbers = numbers
        self.categories = categories
        self.columns = columns
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> "FCClassifier":
        """One pass over rows, at a constant learning rate, from where the last call ended.

        Inputs are standardized as the rows of the first call are.

        Args:
            X: the rows.
            y: their classes, or labels.
            classes: all classes that will come; needed in the first call.
            sample_weight: the rows' weights.

        Returns:
            The estimator.

        Raises:
            ValueError: as `fit`; other columns or classes than before.
        """
        first = _check_partial_fit_first_call(self, classes)
        if first:
            several = np.ndim(y) == 2 and np.shape(y)[1] > 1
            self._learn(self.classes_, "labels" if several else "classes")
        return self._partial_fit(X, y, sample_weight, first)
