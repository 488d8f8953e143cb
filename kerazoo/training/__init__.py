"""Training for any Keras model: losses, metrics, schedules, checkpoints, and `fit` over data on the device."""

from kerazoo.training.callbacks import Checkpoints, MetricsLog, StopOnNonFinite
from kerazoo.training.checkpoints import CheckpointStore
from kerazoo.training.error_rates import edit_distance, sequence_error_rate, token_error_rate
from kerazoo.training.fit import evaluate, fit
from kerazoo.training.losses import SparseCrossentropy
from kerazoo.training.metrics import F1, Perplexity, SequenceAccuracy, TokenAccuracy
from kerazoo.training.progress import Progress
from kerazoo.training.schedules import InverseSquareRoot, WarmupConstant, WarmupCosine, WarmupLinear

__all__ = [
    "Progress",
    "StopOnNonFinite",
    "MetricsLog",
    "Checkpoints",
    "CheckpointStore",
    "F1",
    "InverseSquareRoot",
    "Perplexity",
    "SequenceAccuracy",
    "SparseCrossentropy",
    "TokenAccuracy",
    "WarmupConstant",
    "WarmupCosine",
    "WarmupLinear",
    "edit_distance",
    "evaluate",
    "fit",
    "sequence_error_rate",
    "token_error_rate",
]
