"""Changes to a recipe, one at a time: what is left out of it, or tried beside it, in the same minutes."""

from typing import NamedTuple


class Change(NamedTuple):
    """What is changed, and the flags of `jaxfc train` that change it."""

    about: str
    flags: tuple[str, ...]


def _change(about: str, flags: str) -> Change:
    return Change(about, tuple(flags.split()))


CHANGES = {
    "plain-images": _change("no augmentation", "--augment"),
    "pixels": _change("pixels, not their means", "--pool 1"),
    "coarse": _change("means of squares of 4 pixels a side", "--pool 4"),
    "no-shift": _change("mirrored alone", "--augment mirror"),
    "far-shift": _change("shifts of 2 pixels", "--augment mirror shift:2"),
    "cutout": _change("squares of 8 pixels blanked too", "--augment mirror shift:1 cutout:8"),
    "colour": _change("brightness, contrast, saturation by up to a fifth too", "--augment mirror shift:1 colour:0.2"),
    "elastic": _change("images bent by up to 2 pixels too", "--augment mirror shift:1 elastic:2"),
    "mixup": _change("pairs of examples mixed too", "--augment mirror shift:1 mixup:0.2"),
    "hard-labels": _change("no label smoothing", "--label-smoothing 0"),
    "average": _change("averaged parameters", "--ema-decay 0.99"),
    "tta": _change("predictions averaged over 8 augmented copies", "--tta 8"),
    "no-dropout": _change("no dropout", "--dropout-keep-ratio 1"),
    "more-dropout": _change("a fifth dropped, not a tenth", "--dropout-keep-ratio 0.8"),
    "no-normalization": _change("no batchnorm", "--normalization None"),
    "layernorm": _change("layernorm, not batchnorm", "--normalization layernorm"),
    "wide": _change("layers of 2048 and 1024", "--hidden 2048 1024"),
    "narrow": _change("layers of 512 and 256", "--hidden 512 256"),
    "deep": _change("layers of 1024, 512, 512 and 512", "--hidden 1024 512 512 512"),
    "residual": _change(
        "two inverted bottlenecks on a stream of 512", "--network residual --hidden 512 512 --normalization layernorm"
    ),
    "lion": _change("Lion", "--update-rule lion --learning-rate 2e-4 --weight-decay 0.1"),
    "muon": _change(
        "Muon, in batches of 1024", "--update-rule muon --learning-rate 0.03 --weight-decay 0.1 --batch-size 1024"
    ),
    "small-batch": _change("batches of 128", "--batch-size 128 --learning-rate 0.0015"),
    "large-batch": _change("batches of 512", "--batch-size 512 --learning-rate 0.003"),
    "linear": _change("a learning rate that falls linearly", "--schedule linear"),
    "constant": _change("a constant learning rate", "--schedule constant"),
    "no-decay": _change("no weight decay", "--weight-decay 0"),
    "more-decay": _change("a weight decay of 0.1", "--weight-decay 0.1"),
    "float32": _change("float32 products", "--compute-dtype None"),
}
