"""scikit-learn's own checks of estimators, none of which is expected to fail."""

import pytest

pytest.importorskip("sklearn", "1.6")

import sklearn
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from sklearn.utils.fixes import parse_version

from jaxfc.sklearn import FCClassifier, FCRegressor, FCSearchClassifier, FCSearchRegressor


@parametrize_with_checks([FCClassifier(hidden=(), epochs=30, learning_rate=0.02)])
def test_classifier(estimator, check):
    check(estimator)


@parametrize_with_checks([FCRegressor(hidden=(), epochs=30, learning_rate=0.02)])
def test_regressor(estimator, check):
    check(estimator)


@pytest.mark.skipif(parse_version(sklearn.__version__) < parse_version("1.9"), reason="earlier versions have fewer")
@pytest.mark.parametrize(
    ("estimator", "count"), [(FCClassifier, 66), (FCRegressor, 59), (FCSearchClassifier, 66), (FCSearchRegressor, 59)]
)
def test_as_many_checks_as_there_are(estimator, count):
    assert len(list(estimator_checks_generator(estimator()))) >= count
