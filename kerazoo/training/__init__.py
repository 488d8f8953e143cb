"""Training of any Keras model: `fit`, losses, metrics, learning rate schedules, callbacks and checkpoints."""

from kerazoo.training import distribution, layouts, processes
from kerazoo.training.accumulation import GradientAccumulation
from kerazoo.training.callbacks import Checkpoints, MetricsLog, StopOnNonFinite
from kerazoo.training.checkpoints import CheckpointStore
from kerazoo.training.consistency import Consistency
from kerazoo.training.error_rates import edit_distance, sequence_error_rate, token_error_rate
from kerazoo.training.fit import evaluate, fit, make_deterministic
from kerazoo.training.losses import QuantileLoss, SparseCrossentropy, SpectrogramLoss
from kerazoo.training.metrics import (
    F1,
    BitsPerDimension,
    Perplexity,
    SequenceAccuracy,
    SpanAccuracy,
    TokenAccuracy,
)
from kerazoo.training.pair_losses import CosineCorrelation, CosineError, InBatchAccuracy, InBatchCrossentropy
from kerazoo.training.profiles import Profile
from kerazoo.training.progress import Progress
from kerazoo.training.rate_factors import layer_factors, named_factors, scale_rates
from kerazoo.training.rematerialization import numbered_blocks, rematerialize
from kerazoo.training.scheduled_sampling import ScheduledSampling
from kerazoo.training.schedules import (
    InverseSquareRoot,
    OneCycle,
    WarmupConstant,
    WarmupCosine,
    WarmupExponential,
    WarmupLinear,
    WarmupPiecewise,
    WarmupStableDecay,
)
from kerazoo.training.unfreezing import Unfreeze, set_trainable
from kerazoo.training.weight_averages import EvaluateAverages

__all__ = [
    "BitsPerDimension",
    "CheckpointStore",
    "Checkpoints",
    "Consistency",
    "CosineCorrelation",
    "CosineError",
    "EvaluateAverages",
    "F1",
    "GradientAccumulation",
    "InBatchAccuracy",
    "InBatchCrossentropy",
    "InverseSquareRoot",
    "MetricsLog",
    "OneCycle",
    "Perplexity",
    "Profile",
    "Progress",
    "QuantileLoss",
    "ScheduledSampling",
    "SequenceAccuracy",
    "SpanAccuracy",
    "SparseCrossentropy",
    "SpectrogramLoss",
    "StopOnNonFinite",
    "TokenAccuracy",
    "Unfreeze",
    "WarmupConstant",
    "WarmupCosine",
    "WarmupExponential",
    "WarmupLinear",
    "WarmupPiecewise",
    "WarmupStableDecay",
    "edit_distance",
    "distribution",
    "evaluate",
    "fit",
    "layouts",
    "processes",
    "layer_factors",
    "make_deterministic",
    "named_factors",
    "numbered_blocks",
    "rematerialize",
    "scale_rates",
    "sequence_error_rate",
    "set_trainable",
    "token_error_rate",
]
