"""Bad input to `jaxfc`: one line that names value and remedy, exit code 2, and no folder made."""

import warnings

import numpy as np
import pytest
from command import fails, numbers_alone, write_table

from jaxfc import cli


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAXFC_DATA", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("train --hiden 3", "Unrecognized options: --hiden"),
        ("train --hiden 3", "did you mean --hidden?"),
        ("train --epochs many", "many"),
        ("trian", "train"),
        ("", "train"),
        ("train --data cifar", "did you mean 'cifar10'"),
        ("train --activation rleu", "did you mean 'relu'"),
        ("train --normalization batch", "did you mean 'batchnorm'"),
        ("train --update-rule adma", "did you mean 'adam'"),
        ("train --schedule cosin", "did you mean 'cosine'"),
        ("train --sampling shufled", "did you mean 'shuffled'"),
        ("train --network plane", "did you mean 'plain'"),
        ("train --task regresion", "did you mean 'regression'"),
        ("train --loss softmx", "did you mean 'softmax'"),
        ("train --rank acuracy", "unknown metric of Classification 'acuracy'"),
        ("train --learning-rate -1", "learning_rate=-1.0"),
        ("train --learning-rate nan", "learning_rate=nan"),
        ("train --lr-decay 0", "lr_decay=0.0"),
        ("train --dropout-keep-ratio 0", "dropout_keep_ratio=0.0 must be a finite number in (0, 1]"),
        ("train --reg -1", "reg=-1.0"),
        ("train --batch-size 5000", "batch_size=5000 must be from 1 to the number of training rows, 1297"),
        ("train --batch-size 0", "batch_size=0"),
        ("train --normalization batchnorm --batch-size 1", "batch_size=1, accumulate=1: this network needs at least 2"),
        ("train --normalization batchnorm --batch-size 4 --accumulate 4", "batch_size=4, accumulate=4"),
        ("train --accumulate 5", "accumulate=5 must divide batch_size=32"),
        ("train --accumulate 0", "accumulate=0"),
        ("train --ema-decay 1", "ema_decay=1.0"),
        ("train --epochs 0", "epochs=0"),
        ("train --num-train 0", "num_train=0"),
        ("train --seed -1", "seed=-1"),
        ("train --order-seed -1", "order_seed=-1"),
        ("train --clip-norm 0", "clip_norm=0.0"),
        ("train --momentum 0.9", "adam has none"),
        ("train --beta1 1", "beta1=1.0"),
        ("train --norm-momentum 2", "norm_momentum=2.0"),
        ("train --hidden 0", "hidden_dims: 0"),
        ("train --network residual --hidden 8 4", "hidden=(8, 4): a residual network needs at least one width"),
        ("train --network residual --hidden", "hidden=(): a residual network needs at least one width"),
        ("train --depth-keep-ratio 0.5", "depth_keep_ratio=0.5 needs network='residual'"),
        ("train --augment miror", "did you mean 'mirror'"),
        ("train --augment shift", "write shift:PIXELS"),
        ("train --augment shift:8", "pixels=8 must be from 1 to 7"),
        ("train --tta 4", "tta=4 averages over augmented copies: name --augment, or leave --tta out"),
        ("train --extend 40", "extend=40 goes on with a run: add --resume, or plan a new run with --epochs 40"),
        ("train --class-weight 11=2", "class '11'"),
        ("train --class-weight balance", "write balanced, or NAME=WEIGHT"),
        ("train --class-weight 1=-2", "-2.0"),
        ("train --label-smoothing 0.1 --loss hinge", "label_smoothing=0.1: the hinge loss has none"),
        ("train --quantiles 0.5", "quantiles=(0.5,): a classification has none"),
        ("train --task regression", "digits has classes: use task='classification'"),
        ("train --weights w", "digits has none: leave weights out"),
        ("train --data absent.npz", "absent.npz"),
        ("train --data cifar10 --data-dir absent", "absent"),
        ("gradcheck --seed -1", "seed=-1"),
        ("evaluate absent", "absent"),
        ("predict absent absent.npy", "absent"),
    ],
)
def test_bad_input_is_one_line_that_names_it(capfd, folder, args, message):
    assert message in fails(capfd, *args.split())
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--label side --task regression", "column 'side' is 'right', no number to predict: for names use --task"),
        ("--label side --task multilabel", "column 'side' is 'right': a label must be 0 or 1"),
        ("--label mass --task multilabel", "column 'mass' is '3.3836': a label must be 0 or 1"),
        ("--label depth", "is not an integer; labels must be integers or text: to predict numbers use task="),
        ("--label mass --task regression --loss hinge", "unknown loss of a regression 'hinge'"),
        ("--label mass --task regression --quantiles 0.5", "quantiles=(0.5,) need the quantile loss"),
        ("--label side --augment mirror", "--augment mirror needs images"),
        ("--label side --class-weight up=2", "unknown class 'up'"),
        ("--label mass --task regression --class-weight balanced", "class weights need one class in each row"),
        ("--label tall,wide --task multilabel --rank r2", "unknown metric of Multilabel 'r2'"),
        ("--label mass --task regression --rank acc", "unknown metric of Regression 'acc'"),
        ("--label side --weights wieght", "did you mean 'weight'"),
        ("--label mass --task regression --label-smoothing 0.1", "label_smoothing=0.1: a regression has none"),
    ],
)
def test_what_does_not_suit_a_table_is_named(capfd, folder, args, message):
    write_table(folder / "table.csv")
    if "side" not in args:
        numbers_alone(folder / "table.csv")
    assert message in fails(capfd, "train", "--data", "table.csv", *args.split())
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0] * 59 + [-1.0], "-1.0: weights must be finite and at least 0"),
        ([1.0] * 59 + [np.nan], "nan: weights must be finite and at least 0"),
        ([0.0] * 60, "is 0 in all 60 rows"),
        (["1"] * 60, "weights must be numbers"),
        ([1.0] * 59, "a weight for each row"),
    ],
)
def test_weights_that_cannot_be_used_are_named(capfd, folder, weights, message):
    x = np.arange(180.0).reshape(60, 3)
    np.savez("rows.npz", x=x, y=np.arange(60) % 2, w=np.array(weights))
    assert message in fails(capfd, "train", "--data", "rows.npz", "--weights", "w")
    assert not (folder / "runs").exists()


def test_a_warning_is_one_line_without_a_place_in_the_code(capfd):
    seen = []

    def run(args):
        seen.append(warnings.formatwarning(UserWarning("first\n  second"), UserWarning, "file.py", 3))

    before = warnings.formatwarning
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "_run", run)
        cli.main([])
    assert seen == ["jaxfc: first second\n"]
    assert warnings.formatwarning is before
