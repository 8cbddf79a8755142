"""scikit-learn's own checks of estimators, none of which is expected to fail."""

import pytest

pytest.importorskip("sklearn", "1.6")

from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxfc.sklearn import FCClassifier, FCRegressor


@parametrize_with_checks([FCClassifier(hidden=(16,), epochs=30, learning_rate=0.02)])
def test_classifier(estimator, check):
    check(estimator)


@parametrize_with_checks([FCRegressor(hidden=(16,), epochs=30, learning_rate=0.02)])
def test_regressor(estimator, check):
    check(estimator)
