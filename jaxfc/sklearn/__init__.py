"""Estimators for scikit-learn (the extra `sklearn`).

They go wherever scikit-learn's own go: into pipelines, cross-validations, searches of parameters, calibration. Rows are
filled up to a few lengths, so that all folds of a cross-validation, and all settings of a grid that are only numbers,
share one compiled program.
"""

try:
    from sklearn.utils.validation import validate_data as _validate_data  # noqa: F401 (1.6 has it first)
except ImportError as error:
    raise ImportError(
        "jaxfc.sklearn needs scikit-learn 1.6 or later: pip install 'jaxfc[sklearn]'", name="sklearn"
    ) from error

from jaxfc.sklearn.classifier import FCClassifier
from jaxfc.sklearn.regressor import FCRegressor
from jaxfc.sklearn.searches import FCSearchClassifier, FCSearchRegressor

__all__ = ["FCClassifier", "FCRegressor", "FCSearchClassifier", "FCSearchRegressor"]
