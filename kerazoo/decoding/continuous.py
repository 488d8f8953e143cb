"""Decoding of continuous values: each position is a vector of numbers, computed from the vector before it."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding import programs, prompts
from kerazoo.decoding.decoding_state import loop_variables, same_shapes
from kerazoo.decoding.protocol import SourceModel


class ContinuousDecodable(SourceModel):
    """Base class of the models that predict a sequence of vectors one by one; `generate_values` decodes them.

    A subclass implements `encode`, `start_values`, `start`, `step` and `next_values`. The cache has the parts of
    `kerazoo.decoding.Decodable`. The outputs of `step` at `index` are those of position `index` of the targets, given
    the values before it: `start_values` at index 0. Repeated steps must give the outputs of the model's full pass.

    Attributes, beside those of `kerazoo.decoding.SourceModel`:
        num_values: int. Width F of the vectors that the decoder reads.
        output_width: int. Width of the outputs of a position: F, or more where they describe a distribution, or end
            with a stop logit.
        output_length: int. Number of positions that are generated, at most that many with a stop logit.
        has_stop: bool. Whether the last output of a position is the logit of the probability that no position follows
            it. Defaults to `False`.
    """

    num_values: int
    output_width: int
    output_length: int
    has_stop: bool = False

    def start_values(self, encoded: Any) -> Any:
        """Returns the values before the first position, float32 [B, F]."""
        raise NotImplementedError(f"{type(self).__name__} must implement `start_values`.")

    def start(self, batch_size: Any, max_length: int, encoded: Any = None) -> dict[str, Any]:
        """Returns the cache before the first position, for at most `max_length` positions."""
        raise NotImplementedError(f"{type(self).__name__} must implement `start`.")

    def step(self, values: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns outputs [B, output_width] of position `index`, and the new cache, from the values [B, F] before."""
        raise NotImplementedError(f"{type(self).__name__} must implement `step`.")

    def next_values(self, outputs: Any) -> Any:
        """Returns the values [..., F] that outputs [..., output_width] predict, which the next position reads."""
        raise NotImplementedError(f"{type(self).__name__} must implement `next_values`.")

    def generate(self, source: Any, **options: Any) -> "GeneratedValues":
        """Returns the predicted sequence of each source; the options are those of `generate_values`."""
        return generate_values(self, source, **options)


@dataclasses.dataclass(frozen=True)
class GeneratedValues:
    """The generated sequence of each of B sources.

    Args:
        values: float32 [B, T, F]. The predicted values, 0 after the end of a sequence.
        outputs: float32 [B, T, output_width]. All outputs of the model, 0 after the end of a sequence.
        lengths: int32 [B]. Number of positions of each sequence.
    """

    values: np.ndarray
    outputs: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def concatenate(cls, parts: Sequence["GeneratedValues"]) -> "GeneratedValues":
        """Returns one result for the sources of several."""
        fields = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in fields})


def generate_values(
    model: ContinuousDecodable,
    source: Any,
    max_length: int | None = None,
    *,
    stop_threshold: float = 0.5,
    batch_size: int | None = None,
    jit_compile: bool | None = None,
) -> GeneratedValues:
    """Generates a sequence of vectors for each source; the model reads its own predictions.

    The whole loop is one compiled program. It ends after `max_length` positions, or when every sequence has ended: a
    sequence of a model with a stop logit ends with the first position whose stop probability is above
    `stop_threshold`.

    Args:
        model: `ContinuousDecodable`, such as `kerazoo.models.ContinuousEncoderDecoder`.
        source: The source of each sequence, as for `kerazoo.decoding.generate`.
        max_length: int, above 0. Maximum number of positions. Defaults to `model.output_length`.
        stop_threshold: float, in (0, 1). Only for models with a stop logit. Defaults to `0.5`.
        batch_size: int. Maximum number of sources that are decoded at once. Defaults to all.
        jit_compile: bool. Whether TensorFlow compiles the loop with XLA. Defaults to `model.prefers_jit`.

    Returns:
        `GeneratedValues`.

    Raises:
        TypeError: if `model` is not `ContinuousDecodable`.
        ValueError: if an argument is out of its range.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.create("lstm+lstm_values", input_shape=(11, 2), num_values=2, output_length=5)
    found = kz.decoding.generate_values(model, np.ones((3, 11, 2), "float32"))
    assert found.values.shape == (3, 5, 2)
    ```
    """
    if not isinstance(model, ContinuousDecodable):
        raise TypeError(
            "generate_values: `model` must be a kerazoo.decoding.ContinuousDecodable, a model whose decoder reads "
            f"values; got {type(model).__name__}."
        )
    model.build_from_inputs()
    length = _checks.positive_int("generate_values", "max_length", max_length or model.output_length)
    threshold = _checks.number(
        "generate_values", "stop_threshold", stop_threshold, low=0, high=1, low_open=True, high_open=True
    )
    jit_compile = model.prefers_jit if jit_compile is None else jit_compile
    source = prompts.read_source(model, source)
    rows = prompts.num_rows(source) or 0
    size = rows if batch_size is None else _checks.positive_int("generate_values", "batch_size", batch_size)
    parts = [_empty(model, length)]
    for start in range(0, rows, max(size, 1)):
        part = keras.tree.map_structure(lambda x: x[start : start + size], source)  # noqa: B023
        parts.append(_run(model, part, length, threshold, jit_compile))
    return GeneratedValues.concatenate(parts)


def decode_values(
    model: ContinuousDecodable, max_length: int, encoded: Any, row_mask: Any = None, stop_threshold: float = 0.5
) -> dict[str, Any]:
    """Runs the loop of `generate_values`, written with `keras.ops`: eagerly or inside any compiled function.

    Args:
        model: `ContinuousDecodable`.
        max_length: int. Maximum number of positions T.
        encoded: What `model.encode` returned.
        row_mask: bool [B]. False for padding rows, which need no positions. Defaults to `None`: all rows are valid.
        stop_threshold: float, in (0, 1). See `generate_values`. Defaults to `0.5`.

    Returns:
        A dictionary of tensors: `values`, float32 [B, T, F]; `outputs`, float32 [B, T, output_width]; `lengths`, int32
        [B].
    """
    values = ops.cast(model.start_values(encoded), "float32")  # [B, F]
    cache = model.start(ops.shape(values)[0], max_length, encoded)
    memory = {name: cache[name] for name in ("memory",) if name in cache}
    finished = ops.zeros_like(values[:, 0], dtype="bool") if row_mask is None else ops.logical_not(row_mask)
    stop_logit = math.log(stop_threshold / (1.0 - stop_threshold))
    variables = {
        "index": ops.convert_to_tensor(0, "int32"),
        "values": values,
        "outputs": ops.zeros((ops.shape(values)[0], max_length, model.output_width), dtype="float32"),
        "lengths": ops.zeros_like(finished, dtype="int32"),
        "finished": finished,
        **loop_variables(cache),
    }

    def condition(variables):
        return ops.logical_and(variables["index"] < max_length, ops.any(ops.logical_not(variables["finished"])))

    def body(variables):
        index, finished = variables["index"], variables["finished"]
        outputs, cache = model.step(variables["values"], {**memory, **loop_variables(variables)}, index)
        outputs = ops.where(finished[:, None], 0.0, ops.cast(outputs, "float32"))
        new = {
            "index": index + 1,
            "values": model.next_values(outputs),
            "outputs": ops.slice_update(variables["outputs"], (0, index, 0), outputs[:, None]),
            "lengths": variables["lengths"] + ops.cast(ops.logical_not(finished), "int32"),
            "finished": ops.logical_or(finished, outputs[:, -1] > stop_logit) if model.has_stop else finished,
            **loop_variables(cache),
        }
        return (same_shapes(new, variables),)

    found = ops.while_loop(condition, body, (variables,))[0]
    valid = ops.arange(max_length, dtype="int32") < found["lengths"][:, None]  # [B, T]
    values = ops.where(valid[:, :, None], model.next_values(found["outputs"]), 0.0)
    return {"values": values, "outputs": found["outputs"], "lengths": found["lengths"]}


def _empty(model, length):
    return GeneratedValues(
        values=np.zeros((0, length, model.num_values), "float32"),
        outputs=np.zeros((0, length, model.output_width), "float32"),
        lengths=np.zeros(0, "int32"),
    )


def _run(model, source, length, threshold, jit_compile):
    """Pads a batch, runs its programs, and removes the padding from the result."""
    rows = prompts.num_rows(source) or 0
    size = prompts.batch_bucket(rows)
    source = keras.tree.map_structure(lambda x: prompts.pad_rows(x, size), source)
    encoded = programs.encoder_program(model, source, jit_compile)(source)

    def run(encoded, row_mask):
        return decode_values(model, length, encoded, row_mask, threshold)

    description = f"the decoding of up to {length} positions"
    program = programs.cached_program((model,), ("values", length, threshold), run, jit_compile, description)
    found = program(encoded, np.arange(size) < rows)
    return GeneratedValues(**{name: ops.convert_to_numpy(value)[:rows] for name, value in found.items()})
