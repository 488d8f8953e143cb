"""Corpora, batch plans, feeds and readers; importing this loads no TensorFlow."""

from kerazoo.data.augment import Augment
from kerazoo.data.cache import cache_dir, set_cache_dir
from kerazoo.data.corpus import Corpus
from kerazoo.data.lines import read_lines, read_text
from kerazoo.data.packing import PackedPlan
from kerazoo.data.pipeline import batches, dataset
from kerazoo.data.plan import Batch, Plan
from kerazoo.data.preparing import Chunk, prepare
from kerazoo.data.ragged import Ragged
from kerazoo.data.records import read_records
from kerazoo.data.series import read_series
from kerazoo.data.shapes import Shape
from kerazoo.data.sources import Source, find_sources, find_splits
from kerazoo.data.streaming import Stream, StreamPlan
from kerazoo.data.tables import read_table

__all__ = [
    "Augment",
    "Batch",
    "Chunk",
    "Corpus",
    "PackedPlan",
    "Plan",
    "Ragged",
    "Shape",
    "Source",
    "Stream",
    "StreamPlan",
    "batches",
    "cache_dir",
    "dataset",
    "find_sources",
    "find_splits",
    "prepare",
    "read_lines",
    "read_records",
    "read_series",
    "read_table",
    "read_text",
    "set_cache_dir",
]
