"""Corpora, batch plans and readers; importing this loads no TensorFlow."""

from kerazoo.data.corpus import Corpus, Ragged
from kerazoo.data.plan import Batch, Plan
from kerazoo.data.shapes import Shape

__all__ = ["Batch", "Corpus", "Plan", "Ragged", "Shape"]
