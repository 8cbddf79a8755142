"""The estimators for scikit-learn, beyond what its own checks ask."""

import pickle
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from jaxfc import Model, search
from jaxfc.search.loop import carry_out
from jaxfc.sklearn import FCClassifier, FCRegressor, FCSearchClassifier

SMALL = {"hidden": (16,), "epochs": 20, "learning_rate": 0.02, "random_state": 0}


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="module")
def trained(cancer):
    return FCClassifier(**SMALL).fit(*cancer)


# ---------------------------------------------------------------------------------------------------
# Compiled once
# ---------------------------------------------------------------------------------------------------


def test_a_cross_validation_and_a_grid_of_numbers_compile_one_program(cancer, trained, compilations):
    X, y = cancer
    scores = cross_val_score(FCClassifier(**SMALL), X, y)  # of 455 and 456 rows
    assert scores.min() > 0.93
    # What draws, measures before the first epoch, and trains; to predict, and the rest, there was from before.
    assert len(compilations) <= 3
    count = len(compilations)
    numbers = {"learning_rate": [0.01, 0.02], "weight_decay": np.array([0.0, 0.1]), "epochs": [10, 20]}
    found = GridSearchCV(FCClassifier(**SMALL), numbers, refit=False).fit(X, y)
    assert len(found.cv_results_["params"]) == 8
    assert len(compilations) == count


# ---------------------------------------------------------------------------------------------------
# Rows and their weights
# ---------------------------------------------------------------------------------------------------


def test_weights_are_repeated_rows_and_the_order_of_rows_does_not_matter(cancer, trained):
    X, y = cancer[0][:200], cancer[1][:200]
    rng = np.random.default_rng(0)
    weights, order = rng.integers(0, 4, 200), rng.permutation(200)
    repeated = FCClassifier(**SMALL).fit(X.repeat(weights, axis=0), y.repeat(weights))
    weighted = FCClassifier(**SMALL).fit(X[order], y[order], sample_weight=weights[order])
    np.testing.assert_array_equal(repeated.predict_proba(X), weighted.predict_proba(X))
    assert np.abs(trained.predict_proba(X) - weighted.predict_proba(X)).max() > 1e-3


def test_class_weights_move_predictions(cancer, trained):
    X, y = cancer
    heavy = FCClassifier(**SMALL, class_weight={0: 20.0, 1: 1.0}).fit(X, y)
    assert heavy.predict_proba(X)[:, 0].mean() > trained.predict_proba(X)[:, 0].mean() + 0.02
    with pytest.raises(ValueError, match="class_weight='even' must be 'balanced'"):
        FCClassifier(**SMALL, class_weight="even").fit(X, y)


def test_weights_are_routed(cancer):
    X, y = cancer
    with config_context(enable_metadata_routing=True):
        net = FCClassifier(**SMALL).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        scores = cross_val_score(net, X, y, params={"sample_weight": np.where(y == 0, 1.0, 0.5)}, cv=3)
    assert scores.min() > 0.9


# ---------------------------------------------------------------------------------------------------
# Among scikit-learn's own
# ---------------------------------------------------------------------------------------------------


def test_in_pipelines_and_calibrated(cancer):
    X, y = cancer
    names = ("a", "b")
    frame = {name: X[:, i] for i, name in enumerate(names)} | {"c": np.where(X[:, 2] > 85, "much", "little")}
    pd = pytest.importorskip("pandas")
    columns = make_column_transformer((StandardScaler(), list(names)), (OneHotEncoder(sparse_output=False), ["c"]))
    pipe = make_pipeline(columns.set_output(transform="pandas"), FCClassifier(**SMALL)).fit(pd.DataFrame(frame), y)
    assert list(pipe[-1].feature_names_in_)[-1] == "onehotencoder__c_much"
    assert pipe.score(pd.DataFrame(frame), y) > 0.85
    calibrated = CalibratedClassifierCV(FCClassifier(**SMALL), cv=3).fit(X, y)
    assert calibrated.score(X, y) > 0.93


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_have_names_and_must_keep_them(cancer, library):
    lib = pytest.importorskip(library)
    X, y = cancer
    frame = lib.DataFrame({f"column {i}": X[:, i] for i in range(30)})
    net = FCClassifier(**SMALL).fit(frame, y)
    assert net.feature_names_in_[3] == "column 3"
    assert net.model_.feature_names[3] == "column 3"
    np.testing.assert_array_equal(net.predict_proba(frame[:9]), FCClassifier(**SMALL).fit(X, y).predict_proba(X[:9]))
    with pytest.raises(ValueError, match="feature names should match"):
        net.predict(frame[list(reversed(frame.columns))])


def a_frame(library, rows=200):
    """A table with text, categories, dates and missing values, and classes that depend on all of them."""
    rng = np.random.default_rng(0)
    size, colour, day = rng.normal(size=rows), rng.choice(["red", "green", "blue"], rows), rng.integers(0, 365, rows)
    y = (size + (colour == "red") + np.cos(day / 365 * 2 * np.pi) > 0.4).astype(int)
    given = {
        "size": [None if i % 17 == 3 else value for i, value in enumerate(size.tolist())],
        "colour": colour.tolist(),
        "day": (np.datetime64("2024-01-01", "ms") + day.astype("timedelta64[D]")).tolist(),
        "same": ["x"] * rows,
    }
    return library.DataFrame(given), y


@pytest.mark.filterwarnings("ignore:left out the column 'same'")
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_go_in_as_they_are(library):
    lib = pytest.importorskip(library)
    frame, y = a_frame(lib)
    net = FCClassifier(**SMALL).fit(frame, y)
    assert net.score(frame, y) > 0.85
    again = pickle.loads(pickle.dumps(net))
    unseen, _ = a_frame(lib, 3)
    unseen = unseen.assign(colour="pink") if library == "pandas" else unseen.with_columns(colour=lib.lit("pink"))
    np.testing.assert_array_equal(net.predict_proba(unseen), again.predict_proba(unseen))
    without = FCClassifier(**SMALL, columns={"day": "skip"}).fit(frame, y)
    assert [column.name for column in without.model_.about.columns.columns] == ["size", "colour"]


def test_arrays_may_lack_values_and_name_their_categories():
    rng = np.random.default_rng(0)
    X = np.stack([rng.normal(size=200), rng.integers(0, 6, 200)], axis=1)
    y = (X[:, 0] > 0) ^ (X[:, 1] % 2 == 1)
    X[::7, 0] = np.nan
    net = FCClassifier(**SMALL, columns={1: "category"}).fit(X, y)
    assert [column.kind for column in net.model_.about.columns.columns] == ["number", "category"]
    assert net.score(X, y) > 0.85


def test_a_pickle_holds_no_rows_and_predicts_alike(cancer, trained, tmp_path):
    X, _ = cancer
    text = pickle.dumps(trained)
    assert len(text) < 20_000 < X.nbytes
    np.testing.assert_array_equal(pickle.loads(text).predict_proba(X), trained.predict_proba(X))
    trained.model_.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    np.testing.assert_allclose(again.predict_proba(X), trained.predict_proba(X), rtol=1e-5, atol=1e-6)


def test_random_states(cancer, trained):
    X, y = cancer
    proba = [
        clone(trained).set_params(random_state=state).fit(X, y).predict_proba(X[:20])
        for state in (0, 1, np.random.RandomState(0), None)
    ]
    np.testing.assert_array_equal(proba[0], trained.predict_proba(X[:20]))
    np.testing.assert_array_equal(proba[0], proba[2])
    assert (proba[0] != proba[1]).any()
    assert (proba[0] != proba[3]).any()


# ---------------------------------------------------------------------------------------------------
# The course of a training
# ---------------------------------------------------------------------------------------------------


def test_early_stopping_keeps_the_best_epoch(cancer, capsys):
    X, y = cancer
    net = FCClassifier(**SMALL | {"epochs": 200}, early_stopping=True, n_iter_no_change=5, verbose=True).fit(X, y)
    assert net.n_iter_ == len(net.loss_curve_) == len(net.validation_scores_) < 200
    assert net.best_validation_score_ == max(net.validation_scores_)
    assert net.loss_ == net.loss_curve_[-1]
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"epoch {net.n_iter_}, loss {net.loss_:.6f}"


def test_validation_rows_are_measured_on_as_they_are(cancer):
    X, y = cancer
    net = FCClassifier(**SMALL).fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
    assert net.n_iter_ == 20
    assert net.validation_scores_[-1] == pytest.approx(net.score(X[400:], y[400:]), abs=1e-6)
    with pytest.raises(ValueError, match="X_val and y_val: give both"):
        FCClassifier(**SMALL).fit(X, y, X_val=X)


def test_a_warm_start_goes_on(cancer, trained):
    X, y = cancer
    net = pickle.loads(pickle.dumps(trained)).set_params(warm_start=True)
    before = net.loss_curve_[0]
    net.fit(X, y)
    assert net.loss_curve_[0] < before - 0.05
    with pytest.raises(ValueError, match="make another network than the one trained before"):
        net.set_params(hidden=(17,)).fit(X, y)


def test_partial_fits_learn_and_remember_the_rule(cancer):
    X, y = cancer
    net = FCClassifier(**SMALL)
    for _ in range(15):
        net.partial_fit(X, y, classes=[0, 1])
    assert net.score(X, y) > 0.95
    assert net.t_ == 15 * len(X)
    with pytest.raises(ValueError, match="has the class 2, which is none of those of before"):
        net.partial_fit(X[:2], [0, 2])
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        FCClassifier().partial_fit(X, y)


# ---------------------------------------------------------------------------------------------------
# Other targets
# ---------------------------------------------------------------------------------------------------


def test_names_of_classes_and_several_labels():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    names = np.array(["low", "mid", "high"], object)[np.digitize(X[:, 0], [-0.5, 0.5])]
    net = FCClassifier(**SMALL).fit(X, names)
    assert net.classes_.tolist() == ["high", "low", "mid"]
    assert net.score(X, names) > 0.9
    labels = (X > 0).astype(int)[:, [0, 1, 2, 0]]
    several = FCClassifier(**SMALL).fit(X, labels)
    assert several.predict(X).shape == several.predict_proba(X).shape == (200, 4)
    assert (several.predict(X) == labels).mean() > 0.95


def test_several_numbers_and_quantiles():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    y = np.stack([X[:, 0] + 100, 1e3 * X[:, 1] + rng.normal(size=400) * 300], axis=1)
    assert FCRegressor(**SMALL).fit(X, y).score(X, y) > 0.9
    wide = FCRegressor(**SMALL, quantiles=(0.9, 0.1, 0.5)).fit(X, y)
    found = wide.predict_quantiles(X)
    assert found.shape == (400, 2, 3)
    assert (found[..., 1] <= found[..., 2]).all()
    assert (found[..., 2] <= found[..., 0]).all()
    np.testing.assert_array_equal(wide.predict(X), found[..., 2])
    inside = (found[:, 1, 1] < y[:, 1]) & (y[:, 1] < found[:, 1, 0])
    assert 0.6 < inside.mean() < 0.95
    with pytest.raises(ValueError, match="give quantiles, such as"):
        FCRegressor(**SMALL).predict_quantiles(X)


# ---------------------------------------------------------------------------------------------------
# What cannot be learned from
# ---------------------------------------------------------------------------------------------------

ONES = np.ones((9, 2))


@pytest.mark.parametrize(
    ("X", "y", "how", "message"),
    [
        (np.eye(9), np.zeros(9), {}, "y has one class only, 0.0: a classifier needs at least 2 classes"),
        (np.eye(9), np.arange(9) % 2, {"sample_weight": np.arange(9) % 2}, "y has one class only"),
        (np.eye(9)[:1], [1], {}, "1 sample"),
        (ONES, np.arange(9) % 2, {}, "no column is left to learn from"),
        (np.where(np.eye(9), np.inf, 0), np.arange(9) % 2, {}, "X contains infinity"),
        (np.eye(9), np.arange(9) % 2, {"sample_weight": -np.ones(9)}, r"sample_weight\[0\] is -1"),
        (np.eye(9), np.arange(9) % 2, {"sample_weight": np.ones(8)}, r"sample_weight has shape \(8,\)"),
        (np.eye(9), np.arange(9) / 9, {}, "Unknown label type"),
    ],
)
def test_rows_that_there_is_nothing_to_learn_from(X, y, how, message):
    with pytest.raises(ValueError, match=message):
        FCClassifier().fit(X, y, **how)


@pytest.mark.parametrize(
    ("parameter", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs=0 must be at least 1"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate=-1.0"),
        ({"activation": "rellu"}, ValueError, "did you mean 'relu'"),
        ({"dropout_keep_ratio": 1.5}, ValueError, "dropout_keep_ratio=1.5"),
        ({"early_stopping": True, "validation_fraction": 2.0}, ValueError, "validation_fraction=2.0"),
        ({"early_stopping": True, "validation_fraction": 0.95}, ValueError, "too few to hold out"),
    ],
)
def test_parameters_out_of_range_are_named(parameter, error, message):
    with pytest.raises(error, match=message):
        FCClassifier(**parameter).fit(np.eye(9), np.arange(9) % 2)


def test_a_regression_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"target 0 is 2\.0 in every row"):
        FCRegressor().fit(np.eye(9), np.full(9, 2.0))
    with pytest.raises(ValueError, match="Input y contains NaN"):
        FCRegressor().fit(np.eye(9), np.where(np.arange(9) == 3, np.nan, 1.0))


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[:2] == ["jaxfc", "sklearn"]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn.utils.validation", None)
    with pytest.raises(ImportError, match="pip install 'jaxfc\\[sklearn\\]'"):
        import jaxfc.sklearn  # noqa: F401


# ---------------------------------------------------------------------------------------------------
# Callbacks, and populations
# ---------------------------------------------------------------------------------------------------


class Third:
    """A callback that ends a fit with the third epoch."""

    def __init__(self):
        self.told, self.scores = [], []

    def setup(self, estimator, context):
        self.told.append("setup")

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(f"{context.task_name} begins")

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.told.append(f"{context.task_name} ends")
        self.scores.append(fitted_estimator.score(X, y))
        return len(self.scores) == 3


def test_callbacks_are_told_of_epochs_and_may_end_a_fit(cancer):
    pytest.importorskip("sklearn.callback")
    callback = Third()
    net = FCClassifier(**SMALL).set_callbacks(callback).fit(*cancer)
    assert net.n_iter_ == 3
    epoch = ["epoch begins", "epoch ends"]
    assert callback.told == ["setup", "fit begins", *epoch * 3, "fit ends", "teardown"]
    assert callback.scores[2] == callback.scores[3] == net.score(*cancer)


def test_a_population_is_joined_and_its_folds_share_programs(cancer, compilations):
    X, y = cancer
    spaces = {"hidden": search.choice((16,)), "learning_rate": search.loguniform(0.01, 0.03)}
    net = FCSearchClassifier(3, n_members=4, epochs=20, spaces=spaces, random_state=0).fit(X[:455], y[:455])
    assert net.model_.num_members == 4
    assert len(net.candidates_) == 3
    assert net.score(X[455:], y[455:]) > 0.93
    count = len(compilations)
    clone(net).fit(X[-456:], y[-456:]).predict(X[:5])
    assert len(compilations) <= count + 2  # what predicts an ensemble is of its members' shapes: as many as differ


def test_the_chosen_of_a_population_are_trained_again_on_all_rows_but_not_on_those_given_to_validate(cancer):
    X, y = cancer[0][:300], cancer[1][:300]
    spaces = {"hidden": search.choice((16,)), "learning_rate": search.choice(0.02), "weight_decay": search.choice(0.5)}
    again = FCSearchClassifier(1, n_members=2, spaces=spaces, epochs=20, random_state=0).fit(X, y)
    alone = FCClassifier(**SMALL, weight_decay=0.5).fit(X, y)  # which trains on all rows, to the last epoch
    np.testing.assert_allclose(again.predict_proba(X), alone.predict_proba(X), rtol=1e-3, atol=1e-4)
    once = clone(again).set_params(refit=False)
    assert np.abs(clone(once).fit(X, y).predict_proba(X) - alone.predict_proba(X)).max() > 1e-2
    given = {"X_val": cancer[0][300:360], "y_val": cancer[1][300:360]}
    same = [net.fit(X, y, **given).predict_proba(X) for net in (once, again)]
    np.testing.assert_array_equal(*same)


def test_what_is_trained_again_takes_no_program_of_its_own(cancer, compilations, monkeypatch):
    X, y = cancer
    took = []

    def counted(layout, **options):
        count = len(compilations)
        found = carry_out(layout, **options)
        took.append(len(compilations) - count)
        return found

    monkeypatch.setattr("jaxfc.sklearn.searches.carry_out", counted)
    spaces = {"hidden": search.choice((8,), (16, 8)), "learning_rate": search.loguniform(0.01, 0.03)}
    FCSearchClassifier(5, n_members=1, epochs=3, spaces=spaces, random_state=0).fit(X, y)  # one of the two sizes
    assert took[0] < 2  # what draws and what trains would be two; alone in a process, something small is new
