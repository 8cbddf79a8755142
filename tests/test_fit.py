"""A whole training: its course, what it prints, when it ends, and what may go wrong in it."""

import dataclasses
import os
import signal
import threading

import chex
import numpy as np
import pytest
from examples import NET, PLAIN, QUIET, blobs, run

from jaxfc import FCNet, Regression, fit, optim
from jaxfc.errors import DivergenceError
from jaxfc.optim import Schedule, Scheduled


@pytest.fixture(scope="module")
def data():
    return blobs()


@pytest.fixture(scope="module")
def result(data):
    return run(data)


def test_histories_and_best_parameters(data, result):
    assert result.loss_history.shape == (4 * (200 // 32),)
    assert result.train_acc_history.shape == result.val_acc_history.shape == result.val_loss_history.shape == (5,)
    assert result.best_val_acc == result.val_acc_history[1:].max() > 0.9
    best = result.val_acc_history[1:] == result.best_val_acc
    assert result.best_epoch == 1 + np.where(best, result.val_loss_history[1:], np.inf).argmin()
    assert np.isnan(result.val_raw_history).all()
    assert result.best_raw is None
    model = result.model(data)
    measured = model.evaluate(data.x_val, data.y_val)
    np.testing.assert_allclose(measured["acc"], result.best_val_acc, rtol=1e-6)
    np.testing.assert_allclose(measured["log_loss"], result.val_loss_history[result.best_epoch], rtol=1e-4)
    with pytest.raises(ValueError, match="no averages were kept"):
        result.model(data, raw=True)


def test_epoch_0_is_never_the_best(data):
    """A rate of zero: every epoch measures what was measured before the first one."""
    result = run(data, PLAIN, hyper={"learning_rate": 0.0})
    assert len(set(result.val_history)) == 1
    assert result.best_epoch == 1


def test_a_seed_gives_the_same_run_and_another_seed_another(data, result):
    same, other = run(data), run(data, seed=2)
    chex.assert_trees_all_equal(result.params, same.params)
    assert (result.loss_history != other.loss_history).all()


def test_epochs_one_by_one_are_those_of_a_single_program(data, result):
    alone = run(data, callbacks=[lambda report: None])
    np.testing.assert_allclose(alone.loss_history, result.loss_history, rtol=1e-5)
    np.testing.assert_allclose(alone.val_history, result.val_history, rtol=1e-6)
    assert alone.best_epoch == result.best_epoch


def test_sampling_with_replacement(data):
    assert run(data, sampling="replacement").best_val_acc > 0.9


def test_patience_ends_a_run_that_no_longer_improves(data):
    result = run(data, epochs=50, patience=3)
    assert result.stopped == "patience"
    assert len(result.val_acc_history) - 1 == result.best_epoch + 3
    assert result.val_acc_history[-3:].max() <= result.best_val_acc


def test_callbacks_see_every_epoch(data):
    reports = []
    result = run(data, callbacks=[lambda r: reports.append(r._replace(state=int(r.state.step)))])
    assert [r.epoch for r in reports] == [1, 2, 3, 4]
    assert [r.state for r in reports] == [6, 12, 18, 24]
    np.testing.assert_array_equal(np.concatenate([r.losses for r in reports]), result.loss_history)
    np.testing.assert_allclose([r.val_acc for r in reports], result.val_acc_history[1:])
    np.testing.assert_allclose([r.train_acc for r in reports], result.train_acc_history[1:])
    np.testing.assert_allclose([r.val_loss for r in reports], result.val_loss_history[1:])


def test_lines_in_the_assignments_format(data, capfd):
    result = run(data, verbose=True)
    out, err = capfd.readouterr()
    expected = [
        f"(Epoch {e} / 4) train acc: {result.train_acc_history[e]:f}; val_acc: {result.val_acc_history[e]:f}"
        for e in range(5)
    ]
    assert out.splitlines() == expected
    assert not err  # no bar where the output is no terminal


def test_a_progress_bar_when_asked(data, capfd):
    run(data, progress=True)
    assert "4/4" in capfd.readouterr().err


def test_divergence_names_iteration_and_rate_and_leaves_the_checkpoint(data, tmp_path):
    path, seen = tmp_path / "c.safetensors", []
    # Two good epochs of 6 iterations, then a rate that makes the loss overflow.
    hyper = {"learning_rate": 1e-2, "schedule": Schedule(steps_per_epoch=12, lr_decay=1e20)}
    rule = Scheduled(optim.sgd, "exponential")
    saving = {"checkpoint": path, "callbacks": [lambda report: seen.append(path.read_bytes())]}
    with pytest.raises(DivergenceError, match="lower the learning rate, or clip gradients") as caught:
        run(data, PLAIN, rule, hyper=hyper, epochs=30, **saving)
    words = str(caught.value).replace(":", "").split()
    assert int(words[words.index("iteration") + 1]) in (14, 15)
    assert words[words.index("(epoch") + 1] == "3)"
    assert float(words[words.index("rate") + 1]) == pytest.approx(1e18)
    assert len(seen) == 2
    assert path.read_bytes() == seen[-1]


def test_ctrl_c_ends_at_an_epoch_boundary_with_everything_saved(data, tmp_path, capfd):
    def interrupt(report):
        if report.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    result = run(data, checkpoint=tmp_path / "c", callbacks=[interrupt])
    assert result.stopped == "interrupted"
    assert len(result.val_acc_history) == 3
    assert "Ctrl-C again" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    resumed = run(data, checkpoint=tmp_path / "c", callbacks=[lambda r: None], resume=True)
    assert len(resumed.val_acc_history) == 5


def test_training_outside_of_the_main_thread(data):
    results = []
    thread = threading.Thread(target=lambda: results.append(run(data)))
    thread.start()
    thread.join()
    assert results[0].stopped == "finished"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs=0 must be at least 1"),
        ({"batch_size": 201}, "batch_size=201 must be from 1 to the number of training rows, 200"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 1}, "this network needs at least 2 rows in each part of a batch"),
        ({"batch_size": 32, "accumulate": 32}, "accumulate=32: this network needs at least 2 rows"),
        ({"accumulate": 5}, "accumulate=5 must divide batch_size=32"),
        ({"patience": 0}, "patience=0"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
        ({"order_seed": -1}, "order_seed=-1 must be at least 0"),
        ({"train_sample": 0}, "train_sample=0 must be"),
        ({"ema_decay": 1.0}, r"ema_decay=1\.0 must be a finite number in \[0, 1\)"),
        ({"sampling": "shuffeld"}, "did you mean 'shuffled'"),
        ({"augment": ("mirrow",)}, "did you mean 'mirror'"),
        ({"augment": ("mirror",)}, "needs images"),
        ({"class_weight": "balance"}, "did you mean 'balanced'"),
        ({"hyper": {"learning_rate": -1.0}}, r"learning_rate=-1\.0"),
        ({"task": Regression()}, "Regression is for numbers as targets, and 'blobs' has classes: use Classification"),
    ],
)
def test_bad_arguments_are_named(data, change, message):
    with pytest.raises(ValueError, match=message):
        run(data, **change)


def test_networks_that_do_not_fit_the_data_are_named(data):
    with pytest.raises(ValueError, match="takes 5 features and 'blobs' has 4"):
        fit(FCNet(5, (), 3), "sgd", data, **QUIET)
    with pytest.raises(ValueError, match="has 2 outputs; Classification of 'blobs' needs 3"):
        fit(FCNet(4, (), 2), "sgd", data, **QUIET)
    with pytest.raises(ValueError, match="did you mean 'sgd'"):
        fit(NET, "sdg", data, **QUIET)


def test_a_callback_that_returns_true_ends_the_run(data):
    result = run(data, callbacks=[lambda report: report.epoch == 2])
    assert (result.stopped, len(result.val_history)) == ("callback", 3)


def test_rows_of_weight_0_fill_up_and_change_nothing(data):
    """A table filled up to a length, and the same rows alone, drawn in the same batches."""
    rows = np.minimum(np.arange(160), 149)
    few = dataclasses.replace(data, x_train=data.x_train[:150], y_train=data.y_train[:150], w_train=np.ones(150))
    filled = dataclasses.replace(
        few, x_train=few.x_train[rows], y_train=few.y_train[rows], w_train=np.arange(160) < 150
    )
    one, other = (run(each, sampling="continuous", batch_size=10, epochs=n) for each, n in ((few, 16), (filled, 15)))
    np.testing.assert_allclose(one.loss_history, other.loss_history, rtol=1e-5)  # 15 batches 16 times, and 16 15 times
