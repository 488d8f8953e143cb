"""A trained model in a form that others serve: raw inputs in, predictions out."""

from kerazoo.export.saved_model import export
from kerazoo.export.verification import verify

__all__ = ["export", "verify"]
