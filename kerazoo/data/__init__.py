"""Corpora, batch plans, feeds and readers; importing this loads no TensorFlow."""

from kerazoo.data.corpus import Corpus
from kerazoo.data.lines import read_lines, read_text
from kerazoo.data.pipeline import batches, dataset
from kerazoo.data.plan import Batch, Plan
from kerazoo.data.ragged import Ragged
from kerazoo.data.records import read_records
from kerazoo.data.shapes import Shape
from kerazoo.data.sources import Source, find_sources, find_splits
from kerazoo.data.tables import read_table

__all__ = [
    "Batch",
    "Corpus",
    "Plan",
    "Ragged",
    "Shape",
    "Source",
    "batches",
    "dataset",
    "find_sources",
    "find_splits",
    "read_lines",
    "read_records",
    "read_table",
    "read_text",
]
