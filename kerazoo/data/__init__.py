"""Sources of examples, corpora, batch plans and feeds; importing this loads no TensorFlow."""

from kerazoo.data.augment import Augment
from kerazoo.data.cache import cache_dir, set_cache_dir
from kerazoo.data.corpus import Corpus
from kerazoo.data.data_files import DataFiles, find_data_files, find_splits
from kerazoo.data.data_source import Chunk, DataSource
from kerazoo.data.faults import inject_faults, write_faulty_series
from kerazoo.data.forecast_source import DatedSeries, ForecastSource, read_dated_series
from kerazoo.data.image_folder_source import ImageFolderSource
from kerazoo.data.inverse_cloze import InverseCloze
from kerazoo.data.lines import read_lines, read_text
from kerazoo.data.memory_source import MemorySource
from kerazoo.data.mixture_source import MixtureSource
from kerazoo.data.normal_source import AnomalyColumn, NormalSource
from kerazoo.data.packing import PackedPlan
from kerazoo.data.parallel_source import ParallelSource
from kerazoo.data.pipeline import batches, dataset
from kerazoo.data.plan import Batch, Plan, Shape
from kerazoo.data.preparing import prepare
from kerazoo.data.ragged import Ragged
from kerazoo.data.records import read_records, read_table
from kerazoo.data.series_source import SeriesSource, read_series
from kerazoo.data.sound_files import read_sound, write_sound
from kerazoo.data.sound_folder_source import SoundFolderSource
from kerazoo.data.streaming import Stream, StreamPlan
from kerazoo.data.table_source import TableSource
from kerazoo.data.tagged_source import TaggedSource
from kerazoo.data.text_source import TextSource
from kerazoo.data.tfds_source import TFDSSource
from kerazoo.data.without_texts import WithoutTexts

__all__ = [
    "AnomalyColumn",
    "Augment",
    "Batch",
    "Chunk",
    "Corpus",
    "DataFiles",
    "DataSource",
    "DatedSeries",
    "ForecastSource",
    "ImageFolderSource",
    "InverseCloze",
    "MemorySource",
    "MixtureSource",
    "NormalSource",
    "PackedPlan",
    "ParallelSource",
    "Plan",
    "Ragged",
    "SeriesSource",
    "Shape",
    "SoundFolderSource",
    "Stream",
    "StreamPlan",
    "TFDSSource",
    "TaggedSource",
    "TableSource",
    "TextSource",
    "WithoutTexts",
    "batches",
    "cache_dir",
    "dataset",
    "find_data_files",
    "find_splits",
    "inject_faults",
    "prepare",
    "read_dated_series",
    "read_lines",
    "read_records",
    "read_series",
    "read_sound",
    "read_table",
    "read_text",
    "set_cache_dir",
    "write_faulty_series",
    "write_sound",
]
