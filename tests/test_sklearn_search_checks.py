"""scikit-learn's own checks of the estimators that search, none of which is expected to fail."""

import pytest

pytest.importorskip("sklearn", "1.6")

from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxfc import search
from jaxfc.sklearn import FCSearchClassifier, FCSearchRegressor

SPACES = {"hidden": search.choice(()), "learning_rate": search.loguniform(0.02, 0.04)}
SMALL = {"n_candidates": 2, "n_members": 2, "epochs": 30, "spaces": SPACES}


# One of them trains what it chose again: to do so with both would add half as much time again, and try the same lines.
@parametrize_with_checks([FCSearchClassifier(**SMALL, refit=False), FCSearchRegressor(**SMALL)])
def test_estimators_that_search(estimator, check):
    check(estimator)
