"""Data sets as arrays, the normalization a network applies to them, and index plans for an epoch.

Inputs stay as they came (uint8 images stay uint8, a quarter of the memory and of the transfer);
`Normalizer` turns a batch into floating point inside the compiled step.
"""

from jaxfc.data.arrays import Labels, Rows, as_device_rows, as_stored, as_targets, as_weights
from jaxfc.data.checks import TARGETS, check_examples, check_inputs, is_soft
from jaxfc.data.class_weights import with_class_weights
from jaxfc.data.columns import Column, Columns, recognize
from jaxfc.data.dataset import SPLITS, Dataset
from jaxfc.data.encoder import Encoder, Layout, inputs_of
from jaxfc.data.file_rows import FileRows
from jaxfc.data.loaders import LOADERS, load
from jaxfc.data.normalizer import Encoding, Normalizer, centred, standardized
from jaxfc.data.plans import PLANS, Plan, check_batch, continuous_plan, replacement_plan, shuffled_plan
from jaxfc.data.pooled import Pooled, Pooling
from jaxfc.data.split import Splitting, held_out_rows, hold_out
from jaxfc.data.tables import TASKS, read_examples, read_features

__all__ = [
    "LOADERS",
    "PLANS",
    "SPLITS",
    "TARGETS",
    "TASKS",
    "Column",
    "Columns",
    "Dataset",
    "Encoder",
    "Encoding",
    "FileRows",
    "Labels",
    "Layout",
    "Normalizer",
    "Plan",
    "Pooled",
    "Pooling",
    "Rows",
    "Splitting",
    "as_device_rows",
    "as_stored",
    "as_targets",
    "as_weights",
    "centred",
    "check_batch",
    "check_examples",
    "check_inputs",
    "continuous_plan",
    "held_out_rows",
    "hold_out",
    "inputs_of",
    "is_soft",
    "load",
    "read_examples",
    "read_features",
    "recognize",
    "replacement_plan",
    "shuffled_plan",
    "standardized",
    "with_class_weights",
]
