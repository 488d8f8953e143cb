"""Decoders that read some of their own predictions in training, in place of the true tokens."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.seeds import StepSeeds


class ScheduledSampling:
    """Replaces tokens that a recurrent decoder reads in training by its own predictions, more and more of them.

    A function for `change_batch` of `kerazoo.training.fit`. Before each step the decoder reads the sequence token by
    token with the present weights: with the probability of the step the next token that it reads is the most likely one
    of its own, else the true one. The step then trains on these tokens, and the targets of the loss stay as they are.
    As in the paper no gradient passes through the choice. The probability rises linearly from 0 to `rate`. It costs one
    more pass without gradients, without dropout.

    Args:
        model: A model with `start` and `step` (`kerazoo.decoding.Decodable`) that reads `"targets"`, with a recurrent
            decoder.
        rate: float in [0, 1]. The probability in the end.
        steps: int, above 0. The number of steps until then.
        seed: int. What is chosen is a function of the seed and the number of the step. Defaults to `0`.

    Call arguments:
        batch: `(inputs, targets, weights)` with `inputs["targets"]`, int tensor `[B, T]`.
        number: int scalar. The number of the step.

    Returns:
        The batch with other `inputs["targets"]`.

    Raises:
        ValueError: if an argument is out of its range, or the decoder of the model reads all tokens at once.

    Example:

    ```python
    import kerazoo as kz

    model = kz.models.LSTMSeq2Seq(source_vocabulary_size=11, target_vocabulary_size=13, embedding_dim=5, units=7)
    change = kz.training.ScheduledSampling(model, rate=0.25, steps=1000)
    ```

    Reference: Bengio, Vinyals, Jaitly, Shazeer 2015, Scheduled Sampling for Sequence Prediction with Recurrent Neural
    Networks, arXiv:1506.03099.
    """

    def __init__(self, model: Any, rate: float, steps: int, seed: int = 0):
        owner = "ScheduledSampling"
        self.model = model
        self.rate = _checks.number(owner, "rate", rate, low=0, high=1)
        self.steps = _checks.positive_int(owner, "steps", steps)
        self.seed = seed
        if not hasattr(model, "step") or model.supports_parallel_decoding:
            raise ValueError(
                f"{owner}: `model` must have a recurrent decoder of tokens, which reads one after the other; got "
                f"{type(model).__name__}. Leave `scheduled_sampling` out."
            )

    def __call__(self, batch: Any, number: Any) -> Any:
        inputs, *rest = batch
        targets = ops.cast(inputs["targets"], "int32")  # [B, T]
        share = self.rate * ops.minimum(ops.cast(number, "float32") / self.steps, 1.0)
        replaced = keras.random.uniform(ops.shape(targets), seed=StepSeeds(self.seed, number)) < share
        replaced = ops.logical_and(replaced, targets != self.model.pad_id)
        return ({**inputs, "targets": self._mixed(inputs, targets, replaced)}, *rest)

    def _mixed(self, inputs, targets, replaced):
        """Returns the targets `[B, T]` with predictions at the positions that were replaced."""
        model, (rows, length) = self.model, targets.shape
        encoded = model.encode(inputs, training=False) if model.has_encoder else None
        cache = model.start(rows, length, encoded)

        def body(index, carried):
            mixed, last, state = carried
            logits, after = model.step(last, {**cache, "state": state}, index)
            predicted = ops.cast(ops.argmax(logits, axis=-1), "int32")
            token = ops.where(ops.take(replaced, index, axis=1), predicted, ops.take(targets, index, axis=1))
            return ops.slice_update(mixed, (0, index), token[:, None]), token, after["state"]

        start = ops.full((rows,), model.start_id, dtype="int32")
        return ops.fori_loop(0, length, body, (ops.zeros_like(targets), start, cache["state"]))[0]
