"""Ensemble: several models that decode together."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding.generate import generate
from kerazoo.decoding.protocol import Decodable, check_decodable
from kerazoo.decoding.result import Generated
from kerazoo.decoding.score import Scored, score
from kerazoo.decoding.search import Search

# The members of the protocol that the models of an ensemble must agree in.
_SHARED = (
    "vocabulary_size",
    "pad_id",
    "start_id",
    "end_id",
    "source_pad_ids",
    "source_vocabulary_sizes",
    "has_encoder",
)


class Ensemble(Decodable):
    """Decodes by the mean of the probabilities of several models that share a vocabulary.

    The models may differ in everything else, such as an LSTM and a Transformer. All have a source or none has. An
    ensemble is a `Decodable` like each of them, so every search, constraint and option works on it.

    Args:
        models: sequence of `Decodable`. Two or more models.
        weights: sequence of float, above 0. The weight of each model, scaled to the sum 1. Defaults to `None`, for
            equal weights.
        vocabulary_hashes: sequence of str. A hash of the vocabulary of each model, which are compared. Defaults to
            `None`.

    Raises:
        TypeError: if a model is not `Decodable`.
        ValueError: if the models differ in vocabulary, special ids or inputs, or there are not as many weights or
            hashes as models.

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

    def __init__(
        self,
        models: Sequence[Decodable],
        weights: Sequence[float] | None = None,
        *,
        vocabulary_hashes: Sequence[str] | None = None,
    ):
        self.models = tuple(models)
        if len(self.models) < 2:
            raise ValueError(f"Ensemble: `models` must be two or more; got {len(self.models)}.")
        weights = [1.0] * len(self.models) if weights is None else list(weights)
        for name, given in (("weights", weights), ("vocabulary_hashes", vocabulary_hashes)):
            if given is not None and len(given) != len(self.models):
                raise ValueError(
                    f"Ensemble: `{name}` must be one for each model; got {len(given)} for {len(self.models)} models."
                )
        weights = [_checks.number("Ensemble", "weights", weight, low=0, low_open=True) for weight in weights]
        self.weights = tuple(weight / sum(weights) for weight in weights)
        for model in self.models:
            check_decodable("Ensemble", model)
        for name in _SHARED:
            values = [getattr(model, name) for model in self.models]
            _check_equal(name, values)
            setattr(self, name, values[0])
        if vocabulary_hashes is not None:
            _check_equal("vocabulary_hashes", vocabulary_hashes)
        self.supports_parallel_decoding = all(model.supports_parallel_decoding for model in self.models)
        self.prefers_jit = self.supports_parallel_decoding

    @property
    def max_length(self) -> int | None:
        """Maximum number of tokens that all models can generate, `None` for no limit."""
        return _smallest([model.max_length for model in self.models])

    @property
    def max_source_lengths(self) -> Mapping[str, int | None]:
        """Maximum number of positions of each input that all models can read, `None` for no limit."""
        limits = [model.max_source_lengths for model in self.models]
        return {name: _smallest([limit.get(name) for limit in limits]) for name in set().union(*limits)}

    @property
    def variables(self) -> list:
        """The variables of all models."""
        return [variable for model in self.models for variable in model.variables]

    def teacher_forced(self) -> keras.Model:
        """Returns a Keras model from the inputs of the models to the logarithms of their mean probabilities.

        It has the inputs of each of them, so it can be compiled and evaluated as they can.
        """
        return _TeacherForced(self.models, self._mean)

    def build_from_inputs(self) -> None:
        """Builds the models that are not built."""
        for model in self.models:
            model.build_from_inputs()

    def encode(self, inputs: Any, training: bool = False) -> Any:
        """Returns the encoded source of each model, and the mask of the first."""
        each = tuple(model.encode(inputs, training=training) for model in self.models)
        mask = each[0].get("mask") if isinstance(each[0], dict) else None
        return {"each": each} if mask is None else {"each": each, "mask": mask}

    def start(self, batch_size: Any, max_length: int, encoded: Any = None, num_beams: int = 1) -> dict[str, Any]:
        """Returns the cache, each part of which is a tuple over the models."""
        each = (None,) * len(self.models) if encoded is None else encoded["each"]
        caches = [model.start(batch_size, max_length, own, num_beams) for model, own in zip(self.models, each)]
        return _join_caches(caches)

    def prepared_loop(self, num_rows: int | None) -> contextlib.AbstractContextManager:
        """Returns the contexts of all models in one."""
        contexts = contextlib.ExitStack()
        for model in self.models:
            contexts.enter_context(model.prepared_loop(num_rows))
        return contexts

    def step(self, tokens: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns the logarithms of the mean probabilities [B, V] for position `index`, and the new cache."""
        steps = [model.step(tokens, _cache_of(cache, i), index) for i, model in enumerate(self.models)]
        return self._mean([logits for logits, _ in steps]), _join_caches([new for _, new in steps])

    def step_many(self, tokens: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns the logarithms of the mean probabilities [B, T, V] from position `index` on, and the new cache."""
        steps = [model.step_many(tokens, _cache_of(cache, i), index) for i, model in enumerate(self.models)]
        return self._mean([logits for logits, _ in steps]), _join_caches([new for _, new in steps])

    def _mean(self, each):
        each = [
            ops.log_softmax(ops.cast(logits, "float32"), axis=-1) + float(np.log(weight))
            for logits, weight in zip(each, self.weights)
        ]
        return ops.logsumexp(ops.stack(each), axis=0)

    def generate(
        self,
        source: Any = None,
        prompt: Any = None,
        search: Search | str = "greedy",
        max_length: int | None = None,
        **options: Any,
    ) -> Generated:
        """Generates sequences, see `kerazoo.decoding.generate`."""
        return generate(self, source, prompt, search, max_length, **options)

    def score(self, source: Any = None, targets: Any = None, **options: Any) -> Scored:
        """Returns the log-probabilities of given targets, see `kerazoo.decoding.score`."""
        return score(self, source, targets, **options)


class _TeacherForced(keras.Model):
    def __init__(self, models, mean):
        super().__init__(name="ensemble")
        self.parts, self.mean = list(models), mean
        self.built = True

    def call(self, inputs, training=None):
        return self.mean([part(inputs, training=training) for part in self.parts])


def _cache_of(cache, model):
    """Returns the cache of one model; the parts that the search adds are shared by all."""
    return {name: part[model] if isinstance(part, tuple) else part for name, part in cache.items()}


def _join_caches(caches):
    """Returns one cache: attention is the mean of the models that return it, vectors are concatenated."""
    parts = [name for name in ("state", "memory", "kv_cache") if any(name in cache for cache in caches)]
    joined: dict[str, Any] = {name: tuple(cache.get(name, {}) for cache in caches) for name in parts}
    attention = [cache["attention"] for cache in caches if cache.get("attention") is not None]
    if attention:
        joined["attention"] = sum(attention) / len(attention)
    hidden = [cache.get("hidden") for cache in caches]
    if all(vectors is not None for vectors in hidden):
        joined["hidden"] = ops.concatenate([ops.cast(vectors, "float32") for vectors in hidden], axis=-1)
    return joined


def _smallest(limits):
    return min((limit for limit in limits if limit is not None), default=None)


def _check_equal(name, values):
    if any(value != values[0] for value in values):
        raise ValueError(f"Ensemble: models must agree in `{name}`; got {', '.join(map(repr, values))}.")
