"""Exports trained models for serving: raw inputs in, predictions out."""

from kerazoo.export.latency import measure_latency
from kerazoo.export.saved_model import export
from kerazoo.export.verification import verify

__all__ = ["export", "measure_latency", "verify"]
