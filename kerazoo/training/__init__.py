"""Training of any Keras model: `fit`, losses, metrics, learning rate schedules, callbacks and checkpoints."""

from kerazoo.training import distribution, layouts, processes
from kerazoo.training.accumulation import GradientAccumulation
from kerazoo.training.callbacks import Checkpoints, MetricsLog, StopOnNonFinite
from kerazoo.training.checkpoints import CheckpointStore
from kerazoo.training.error_rates import edit_distance, sequence_error_rate, token_error_rate
from kerazoo.training.fit import evaluate, fit
from kerazoo.training.losses import QuantileLoss, SparseCrossentropy, SpectrogramLoss
from kerazoo.training.metrics import F1, BitsPerDimension, Perplexity, SequenceAccuracy, TokenAccuracy
from kerazoo.training.pair_losses import CosineCorrelation, CosineError, InBatchAccuracy, InBatchCrossentropy
from kerazoo.training.progress import Progress
from kerazoo.training.schedules import InverseSquareRoot, WarmupConstant, WarmupCosine, WarmupLinear
from kerazoo.training.weight_averages import EvaluateAverages

__all__ = [
    "BitsPerDimension",
    "CheckpointStore",
    "Checkpoints",
    "CosineCorrelation",
    "CosineError",
    "EvaluateAverages",
    "F1",
    "GradientAccumulation",
    "InBatchAccuracy",
    "InBatchCrossentropy",
    "InverseSquareRoot",
    "MetricsLog",
    "Perplexity",
    "Progress",
    "QuantileLoss",
    "SequenceAccuracy",
    "SparseCrossentropy",
    "SpectrogramLoss",
    "StopOnNonFinite",
    "TokenAccuracy",
    "WarmupConstant",
    "WarmupCosine",
    "WarmupLinear",
    "edit_distance",
    "distribution",
    "evaluate",
    "fit",
    "layouts",
    "processes",
    "sequence_error_rate",
    "token_error_rate",
]
