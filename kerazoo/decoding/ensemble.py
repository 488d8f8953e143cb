"""Several models that write as one."""

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding.generate import generate
from kerazoo.decoding.protocol import Decodable, check_decodable
from kerazoo.decoding.result import Generated
from kerazoo.decoding.score import Scored, score

# The members of the protocol that the models of an ensemble must agree in.
SHARED = (
    "vocabulary_size",
    "source_vocabulary_size",
    "pad_id",
    "start_id",
    "end_id",
    "source_pad_id",
    "has_encoder",
)


class Ensemble(Decodable):
    """Writes by the mean of the probabilities of several models that share a vocabulary.

    The models may differ in everything else: an LSTM and a Transformer, one block and six. All have a source or none
    has. It is a `Decodable` like each of them, so every search, constraint and option works on it.

    Args:
        models: The models, two or more.
        weights: A number above 0 for each model, scaled to the sum 1; equal by default.
        digests: A hash of the vocabulary of each model (`tokenizer.hash`), which are compared; None not to.

    Raises:
        ValueError: The models differ in vocabulary or special ids, some have a source and some have none, or there are
            not as many weights or digests as models.

    Example:

    ```python
    import kerazoo as kz

    sizes = {"source_vocabulary_size": 11, "target_vocabulary_size": 13}
    small = kz.create("lstm_seq2seq", units=8, embedding_dim=8, **sizes)
    large = kz.create("lstm_seq2seq_attention", units=16, embedding_dim=8, **sizes)
    both = kz.decoding.Ensemble([small, large], weights=[1, 2])
    assert both.generate([[5, 6, 7], [8]], search="beam", max_length=6).best().shape == (2, 6)
    ```
    """

    def __init__(self, models, weights=None, digests=None):
        self.models = tuple(models)
        if len(self.models) < 2:
            raise ValueError(f"Ensemble: `models` must be two or more; got {len(self.models)}.")
        weights = [1.0] * len(self.models) if weights is None else list(weights)
        for name, given in (("weights", weights), ("digests", digests)):
            if given is not None and len(given) != len(self.models):
                raise ValueError(
                    f"Ensemble: `{name}` must be one for each model; got {len(given)} for {len(self.models)} models."
                )
        weights = [_checks.number("Ensemble", "weights", weight, low=0, low_open=True) for weight in weights]
        self.weights = tuple(weight / sum(weights) for weight in weights)
        for model in self.models:
            check_decodable("Ensemble", model)
        for name in SHARED:
            _same(name, [getattr(model, name) for model in self.models])
            setattr(self, name, getattr(self.models[0], name))
        if digests is not None:
            _same("digests", digests)
        self.supports_parallel_decoding = all(model.supports_parallel_decoding for model in self.models)
        self.prefers_jit = self.supports_parallel_decoding

    @property
    def max_length(self):
        """The most tokens that all models can write, None where there is no limit."""
        return _least(self.models, "max_length")

    @property
    def max_source_length(self):
        """The most tokens of a source that all models can read, None where there is no limit."""
        return _least(self.models, "max_source_length")

    @property
    def variables(self):
        """The variables of all models."""
        return [variable for model in self.models for variable in model.variables]

    def teacher_forced(self):
        """Returns a Keras model from the inputs of the models to the logarithms of their mean probabilities.

        Like theirs, its targets are the true tokens, so it can be compiled and measured as each of them.
        """
        return _TeacherForced(self.models, self._mean)

    def build_from_inputs(self):
        """Builds the models that are not built."""
        for model in self.models:
            model.build_from_inputs()

    def encode(self, source, training=False):
        """Returns what each model makes of a source, and the mask of the first."""
        each = tuple(model.encode(source, training=training) for model in self.models)
        mask = each[0].get("mask") if isinstance(each[0], dict) else None
        return {"each": each} if mask is None else {"each": each, "mask": mask}

    def start(self, batch_size, max_length, encoded=None, num_beams=1):
        """Returns the cache: of every part a tuple over the models."""
        each = (None,) * len(self.models) if encoded is None else encoded["each"]
        caches = [model.start(batch_size, max_length, mine, num_beams) for model, mine in zip(self.models, each)]
        return _together(caches)

    def step(self, tokens, cache, index):
        """Returns the logarithms of the mean probabilities [B, V] for position `index`, and the new cache."""
        steps = [model.step(tokens, self._of(cache, i), index) for i, model in enumerate(self.models)]
        return self._mean([logits for logits, _ in steps]), _together([new for _, new in steps])

    def step_many(self, tokens, cache, index):
        """Returns the logarithms of the mean probabilities [B, T, V] from position `index` on, and the new cache."""
        steps = [model.step_many(tokens, self._of(cache, i), index) for i, model in enumerate(self.models)]
        return self._mean([logits for logits, _ in steps]), _together([new for _, new in steps])

    def _of(self, cache, model):
        """The cache of one model; what the search adds to the parts is for all."""
        return {name: part[model] if isinstance(part, tuple) else part for name, part in cache.items()}

    def _mean(self, each):
        each = [
            ops.log_softmax(ops.cast(logits, "float32"), axis=-1) + float(np.log(weight))
            for logits, weight in zip(each, self.weights)
        ]
        return ops.logsumexp(ops.stack(each), axis=0)

    def generate(
        self, source=None, prompt=None, search="greedy", max_length: int | None = None, **options
    ) -> Generated:
        """Returns what the models write together, see `kerazoo.decoding.generate`."""
        return generate(self, source, prompt, search, max_length, **options)

    def score(self, source=None, targets=None, **options) -> Scored:
        """Returns what the models make of given targets, see `kerazoo.decoding.score`."""
        return score(self, source, targets, **options)


class _TeacherForced(keras.Model):
    def __init__(self, models, mean):
        super().__init__(name="ensemble")
        self.parts, self.mean = list(models), mean
        self.built = True

    def call(self, inputs, training=None):
        return self.mean([part(inputs, training=training) for part in self.parts])


def _together(caches):
    """One cache of several; attention is the mean of those that show it, vectors stand one behind the other."""
    parts = [name for name in ("state", "memory", "kv_cache") if any(name in cache for cache in caches)]
    joined = {name: tuple(cache.get(name, {}) for cache in caches) for name in parts}
    attention = [cache["attention"] for cache in caches if cache.get("attention") is not None]
    if attention:
        joined["attention"] = sum(attention) / len(attention)
    hidden = [cache.get("hidden") for cache in caches]
    if all(vectors is not None for vectors in hidden):
        joined["hidden"] = ops.concatenate([ops.cast(vectors, "float32") for vectors in hidden], axis=-1)
    return joined


def _least(models, name):
    limits = [getattr(model, name) for model in models]
    return min((limit for limit in limits if limit is not None), default=None)


def _same(name, values):
    if any(value != values[0] for value in values):
        raise ValueError(f"Ensemble: models must agree in `{name}`; got {', '.join(map(repr, values))}.")
