"""Corpora, batch plans, feeds and readers; importing this loads no TensorFlow."""

from kerazoo.data.corpus import Corpus
from kerazoo.data.pipeline import batches, dataset
from kerazoo.data.plan import Batch, Plan
from kerazoo.data.ragged import Ragged
from kerazoo.data.shapes import Shape
from kerazoo.data.sources import find_splits, read_lines, read_table, read_text

__all__ = [
    "Batch",
    "Corpus",
    "Plan",
    "Ragged",
    "Shape",
    "batches",
    "dataset",
    "find_splits",
    "read_lines",
    "read_table",
    "read_text",
]
