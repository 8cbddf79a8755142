"""Training: the step, the loop, and what may go wrong in it."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import safetensors.numpy

from jaxfc import network, optim
from jaxfc.data import Dataset, Normalizer, load, shuffled_plan, standardized
from jaxfc.errors import DivergenceError, FormatError
from jaxfc.network import FCNet
from jaxfc.schedules import Schedule, Scheduled
from jaxfc.step import EVALUATION_ROWS, accuracy, init_state, train_step
from jaxfc.train import fit

QUIET = {"verbose": False, "progress": False}


@pytest.fixture(scope="module")
def blobs():
    """Three classes that a small network separates in a few epochs, as uint8."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300).astype(np.int32)
    x = (rng.normal(size=(300, 4)) * 10 + 40 + 60 * np.eye(4)[y]).clip(0, 255).astype(np.uint8)
    normalizer = standardized(x[:200], per_feature=True)
    return Dataset("blobs", x[:200], y[:200], x[200:], y[200:], None, None, ("a", "b", "c"), normalizer)


NET = FCNet(4, (8,), 3, normalization="batchnorm", dropout_keep_ratio=0.9, reg=1e-3)


def run(blobs, **kwargs):
    settings = {"hyper": {"learning_rate": 3e-2}, "epochs": 4, "batch_size": 32} | QUIET
    return fit(NET, "adam", blobs, **settings | kwargs)


def test_a_step_equals_gradient_and_rule_by_hand(blobs):
    net = FCNet(4, (8,), 3, reg=0.1)
    state = init_state(net, optim.adam, jax.random.key(0), learning_rate=0.01)
    x, y = blobs.x_train[:16], blobs.y_train[:16]

    def by_hand(params):
        scores, _ = network.apply(net, params, (), blobs.normalizer(x), train=True)
        penalty = 0.05 * sum((layer["w"] ** 2).sum() for layer in params)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean() + penalty

    expected_loss, grads = jax.value_and_grad(by_hand)(state.params)
    expected, _ = optim.adam(state.params, grads, state.opt_state)
    state, loss = train_step(net, optim.adam, state, x, y, blobs.normalizer)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    chex.assert_trees_all_close(state.params, expected, rtol=1e-5, atol=1e-6)


def test_a_run_equals_steps_taken_one_by_one(blobs):
    result = run(blobs, epochs=2, seed=7)
    state = init_state(NET, optim.adam, jax.random.key(7), learning_rate=3e-2)
    losses = []
    for epoch in (1, 2):
        for rows in shuffled_plan(200, 32, seed=7, epoch=epoch):
            state, loss = train_step(NET, optim.adam, state, blobs.x_train[rows], blobs.y_train[rows], blobs.normalizer)
            losses.append(loss)
    np.testing.assert_allclose(result.loss_history, losses, rtol=1e-4)
    chex.assert_trees_all_close(result.params, state.params, rtol=1e-3, atol=1e-5)


def test_histories_and_best_parameters(blobs):
    result = run(blobs)
    assert result.loss_history.shape == (4 * (200 // 32),)
    assert result.train_acc_history.shape == result.val_acc_history.shape == (5,)
    assert result.best_val_acc == result.val_acc_history.max() > 0.9
    assert result.best_epoch == result.val_acc_history.argmax()
    measured = accuracy(NET, result.best_params, result.best_stats, blobs.normalizer, blobs.x_val, blobs.y_val)
    np.testing.assert_allclose(measured, result.best_val_acc)
    model = result.model(blobs)
    np.testing.assert_allclose(model.accuracy(blobs.x_val, blobs.y_val), result.best_val_acc, rtol=1e-6)


def test_a_seed_gives_the_same_run_and_another_seed_another(blobs):
    one, same, other = (run(blobs, seed=s) for s in (1, 1, 2))
    chex.assert_trees_all_equal(one.params, same.params)
    assert (one.loss_history != other.loss_history).all()


def test_sampling_with_replacement(blobs):
    assert run(blobs, sampling="replacement").best_val_acc > 0.9


def test_a_second_run_with_other_numbers_compiles_nothing(blobs, compilations):
    run(blobs)
    compilations.clear()
    run(blobs)
    assert not compilations
    other = dataclasses.replace(NET, reg=0.1, dropout_keep_ratio=0.5)
    fit(other, "adam", blobs, hyper={"learning_rate": 0.1, "beta1": 0.5}, epochs=4, batch_size=32, seed=3, **QUIET)
    assert not compilations


@pytest.mark.parametrize("rows", [1, EVALUATION_ROWS, EVALUATION_ROWS + 1, 2 * EVALUATION_ROWS + 17])
def test_accuracy_in_chunks(rows):
    net = FCNet(4, (8,), 3)
    params, stats = network.init(net, jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    y = np.asarray(network.predict(net, params, stats, jnp.asarray(x))).astype(np.int32)
    y[::3] = (y[::3] + 1) % 3
    measured = accuracy(net, params, stats, Normalizer(np.zeros(4, np.float32), np.float32(1)), x, y)
    np.testing.assert_allclose(measured, 1 - len(y[::3]) / rows, rtol=1e-6)


def test_patience_ends_a_run_that_no_longer_improves(blobs):
    result = run(blobs, epochs=50, patience=3)
    assert result.stopped == "patience"
    assert len(result.val_acc_history) - 1 == result.best_epoch + 3
    assert result.val_acc_history[-3:].max() <= result.best_val_acc


def test_callbacks_see_every_epoch(blobs):
    reports = []
    result = run(blobs, callbacks=[lambda r: reports.append((r.epoch, r.losses, r.val_acc, int(r.state.step)))])
    assert [r[0] for r in reports] == [1, 2, 3, 4]
    assert [r[3] for r in reports] == [6, 12, 18, 24]
    np.testing.assert_array_equal(np.concatenate([r[1] for r in reports]), result.loss_history)
    np.testing.assert_allclose([r[2] for r in reports], result.val_acc_history[1:])


def test_lines_in_the_assignments_format(blobs, capfd):
    result = run(blobs, epochs=2, verbose=True)
    out, err = capfd.readouterr()
    expected = [
        f"(Epoch {e} / 2) train acc: {result.train_acc_history[e]:f}; val_acc: {result.val_acc_history[e]:f}"
        for e in range(3)
    ]
    assert out.splitlines() == expected
    assert not err  # no bar where the output is no terminal


def test_a_progress_bar_when_asked(blobs, capfd):
    run(blobs, progress=True)
    assert "4/4" in capfd.readouterr().err


def test_divergence_names_iteration_and_rate_and_leaves_the_checkpoint(blobs, tmp_path):
    path, seen = tmp_path / "c.safetensors", []
    # Two good epochs of 6 iterations, then a rate that makes the loss overflow.
    hyper = {"learning_rate": 1e-2, "schedule": Schedule(steps_per_epoch=12, lr_decay=1e20)}
    with pytest.raises(DivergenceError, match="lower the learning rate, or clip gradients") as caught:
        fit(
            FCNet(4, (8,), 3),
            Scheduled(optim.sgd, "exponential"),
            blobs,
            hyper=hyper,
            epochs=30,
            batch_size=32,
            checkpoint=path,
            callbacks=[lambda report: seen.append(path.read_bytes())],
            **QUIET,
        )
    words = str(caught.value).replace(":", "").split()
    assert int(words[words.index("iteration") + 1]) in (14, 15)
    assert words[words.index("(epoch") + 1] == "3)"
    assert float(words[words.index("rate") + 1]) == pytest.approx(1e18)
    assert len(seen) == 2
    assert path.read_bytes() == seen[-1]


@pytest.mark.parametrize("epochs_first", [1, 3])
def test_a_stopped_and_resumed_run_ends_with_the_same_bits(blobs, tmp_path, epochs_first):
    class Stop(Exception):
        pass

    def stop(report):
        if report.epoch == epochs_first:
            raise Stop

    whole = run(blobs, callbacks=[lambda r: None])
    with pytest.raises(Stop):
        run(blobs, checkpoint=tmp_path / "c", callbacks=[stop])
    resumed = run(blobs, checkpoint=tmp_path / "c", callbacks=[lambda r: None], resume=True)
    chex.assert_trees_all_equal(
        resumed._asdict() | {"net": 0, "stopped": 0}, whole._asdict() | {"net": 0, "stopped": 0}
    )


KILLED = """
import sys
from jaxfc import FCNet, fit, load
net = FCNet(64, (32, 32), 10, normalization="batchnorm", dropout_keep_ratio=0.8)
fit(net, "adam", load("digits"), epochs=40, batch_size=8, checkpoint=sys.argv[1], resume=True, patience=1000,
    progress=False)
"""


def test_a_run_killed_at_any_moment_resumes_to_the_same_bits(tmp_path):
    def start(path):
        return subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(killed)
    for line in process.stdout:
        if line.startswith("(Epoch 3 "):
            time.sleep(0.05)  # somewhere inside an epoch, or inside the writing of a checkpoint
            process.kill()
            break
    process.communicate()
    assert killed.exists()
    for path in (killed, whole):
        process = start(path)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert "(Epoch 40 / 40)" in out
    chex.assert_trees_all_equal(*(safetensors.numpy.load_file(path) for path in (killed, whole)))


def test_ctrl_c_ends_at_an_epoch_boundary_with_everything_saved(blobs, tmp_path, capfd):
    def interrupt(report):
        if report.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    result = run(blobs, checkpoint=tmp_path / "c", callbacks=[interrupt])
    assert result.stopped == "interrupted"
    assert len(result.val_acc_history) == 3
    assert "Ctrl-C again" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = run(blobs, checkpoint=tmp_path / "c", callbacks=[lambda r: None], resume=True)
    assert len(resumed.val_acc_history) == 5


def test_training_outside_of_the_main_thread(blobs):
    results = []
    thread = threading.Thread(target=lambda: results.append(run(blobs, epochs=1)))
    thread.start()
    thread.join()
    assert results[0].stopped == "finished"


def test_an_existing_checkpoint_is_not_overwritten(blobs, tmp_path):
    run(blobs, epochs=1, checkpoint=tmp_path / "c")
    before = (tmp_path / "c").read_bytes()
    with pytest.raises(FileExistsError, match="resume=True"):
        run(blobs, epochs=1, checkpoint=tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == before


def test_checkpoints_of_other_runs_and_damaged_ones_are_refused(blobs, tmp_path):
    path = tmp_path / "c"
    run(blobs, epochs=1, checkpoint=path)
    with pytest.raises(ValueError, match="another network or update rule"):
        fit(FCNet(4, (9,), 3), "adam", blobs, epochs=1, batch_size=32, checkpoint=path, resume=True, **QUIET)
    with pytest.raises(ValueError, match="another network or update rule"):
        fit(NET, "sgd", blobs, epochs=1, batch_size=32, checkpoint=path, resume=True, **QUIET)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FormatError, match="no complete safetensors file"):
        run(blobs, checkpoint=path, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs=0 must be at least 1"),
        ({"batch_size": 201}, "batch_size=201 must be from 1 to the number of training rows, 200"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"patience": 0}, "patience=0"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
        ({"sampling": "shuffeld"}, "did you mean 'shuffled'"),
        ({"hyper": {"learning_rate": -1.0}}, r"learning_rate=-1\.0"),
    ],
)
def test_bad_arguments_are_named(blobs, change, message):
    with pytest.raises(ValueError, match=message):
        run(blobs, **change)


def test_networks_that_do_not_fit_the_data_are_named(blobs):
    with pytest.raises(ValueError, match="takes 5 features and 'blobs' has 4"):
        fit(FCNet(5, (), 3), "sgd", blobs, **QUIET)
    with pytest.raises(ValueError, match="has 2 classes and 'blobs' has 3"):
        fit(FCNet(4, (), 2), "sgd", blobs, **QUIET)
    with pytest.raises(ValueError, match="did you mean 'sgd'"):
        fit(NET, "sdg", blobs, **QUIET)


@pytest.mark.parametrize("rule", optim.RULES)
def test_every_rule_trains(blobs, rule):
    rates = {"sgd": 0.3, "sgd_momentum": 0.05, "nesterov": 0.05, "adagrad": 0.2, "lion": 0.02}
    hyper = {"learning_rate": rates.get(rule, 0.03)}
    result = fit(NET, rule, blobs, hyper=hyper, epochs=4, batch_size=32, **QUIET)
    assert result.best_val_acc > 0.9
    assert result.loss_history[-6:].mean() < 0.5 * result.loss_history[:3].mean()


def test_float64_and_bfloat16_runs(blobs):
    with jax.enable_x64(True):
        net = FCNet(4, (8,), 3, param_dtype="float64")
        result = fit(net, "adam", blobs, hyper={"learning_rate": 3e-2}, epochs=3, batch_size=32, **QUIET)
    assert result.params[0]["w"].dtype == np.float64
    assert result.best_val_acc > 0.9
    net = FCNet(4, (8,), 3, compute_dtype="bfloat16")
    assert fit(net, "adam", blobs, hyper={"learning_rate": 3e-2}, epochs=3, batch_size=32, **QUIET).best_val_acc > 0.9


def test_50_examples_are_overfitted():
    digits = load("digits").subset(50)
    net = FCNet(64, (100, 100), 10)
    result = fit(net, "adam", digits, epochs=40, batch_size=25, **QUIET)
    assert result.train_acc_history[-1] == 1


def test_cifar10_trains(tmp_path):
    if "JAXFC_DATA" not in os.environ:
        pytest.skip("JAXFC_DATA names no folder with CIFAR-10")
    data = load("cifar10").subset(5000)
    net = FCNet(3072, (100,), 10, normalization="batchnorm")
    result = fit(net, "adam", data, epochs=3, batch_size=100, **QUIET)
    assert result.best_val_acc > 0.36
