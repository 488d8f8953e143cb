"""Models whose predictions shall not depend on what dropout leaves out (R-Drop)."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.training.losses import SparseCrossentropy, weighted_mean


class Consistency:
    """Predicts each training batch twice, with other dropout, and adds the difference of both to the loss.

    A function for `change_batch` of `kerazoo.training.fit`, which repeats the rows of each batch. The loss becomes its
    mean over both predictions plus `weight / 4` times the sum of the two Kullback-Leibler divergences between them,
    averaged over the positions by their weights: half of what the paper minimizes, which adds the losses of both
    predictions. The loss of a validation stays as it is. A step computes twice as much.

    Args:
        model: `keras.Model`, compiled with `SparseCrossentropy`, with dropout. It is changed: its `compute_loss`.
        weight: float, above 0. The paper takes 5 for translation and 0.7 for summarization.

    Call arguments:
        batch: `(inputs, targets, weights)`, tensors or dictionaries of tensors `[B, ...]`; `weights` may be None.
        number: int scalar, the number of the step; not used.

    Returns:
        The batch with `2 * B` rows.

    Raises:
        ValueError: if `weight` is out of its range, or the model has another loss or no dropout.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("transformer_seq2seq_tiny", source_vocabulary_size=11, target_vocabulary_size=13, dropout=0.3)
    model.compile("adam", kz.training.SparseCrossentropy())
    change = kz.training.Consistency(model, weight=5.0)
    ```

    Reference: Wu et al. 2021, R-Drop: Regularized Dropout for Neural Networks, arXiv:2106.14448.
    """

    def __init__(self, model: keras.Model, weight: float):
        owner = "Consistency"
        weight = _checks.number(owner, "weight", weight, low=0, low_open=True)
        loss = getattr(model, "loss", None)
        if not isinstance(loss, SparseCrossentropy):
            raise ValueError(
                f"{owner}: `model` must predict classes or tokens, with the loss SparseCrossentropy; got {loss!r}. "
                "Leave `consistency` out."
            )
        if not any(_rate(layer) for layer in model._flatten_layers()):
            raise ValueError(
                f"{owner}: `model` must have dropout, which makes its predictions differ; got {model.name!r} without "
                "any. Build it with dropout=0.1 or more, or leave `consistency` out."
            )
        alone = model.compute_loss

        def compute_loss(x=None, y=None, y_pred=None, sample_weight=None, training=True):
            loss = alone(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
            return loss + weight / 4 * _divergence(y_pred, sample_weight) if training else loss

        model.compute_loss = compute_loss

    def __call__(self, batch: Any, number: Any) -> Any:
        del number
        return keras.tree.map_structure(lambda x: None if x is None else ops.concatenate([x, x], axis=0), batch)


def _rate(layer):
    """Returns the rate of dropout of a layer, 0 without it."""
    if isinstance(layer, keras.layers.Dropout):
        return layer.rate
    return getattr(layer, "recurrent_dropout", 0.0) or 0.0


def _divergence(logits, weights):
    """Returns the divergences of both halves of the rows, added up and averaged over the positions by their weights."""
    logits = ops.cast(logits, "float32")
    rows = ops.shape(logits)[0] // 2
    first, second = ops.log_softmax(logits[:rows]), ops.log_softmax(logits[rows:])
    values = ops.sum((ops.exp(first) - ops.exp(second)) * (first - second), axis=-1)  # [B, ...]
    return weighted_mean(values, None if weights is None else weights[:rows])
