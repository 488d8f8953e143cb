"""A trained model in a form that others serve: raw input in, answers out."""

from kerazoo.export.proof import verify
from kerazoo.export.saved_model import export

__all__ = ["export", "verify"]
