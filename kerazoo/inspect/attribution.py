"""What a score depends on in the input: saliency and integrated gradients of images, texts, sounds and series."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerazoo import _backend, _checks
from kerazoo.inspect import figures
from kerazoo.layers import TokenEmbedding
from kerazoo.models.replaced_calls import replaced_calls

Score = Callable[[Any], Any]
FIRST_STEPS = 16
DENSITY = 3  # the power of the points of the path, so that they are dense at its beginning
MAX_ROWS = 12  # of a series that are plotted as lines


class IntegratedGradients(NamedTuple):
    """What `integrated_gradients` returns.

    Args:
        values: float32 array `[B, ...]`. How much each number of the source adds to the score.
        difference: float32 array `[B]`. The score of the source less that of the baseline.
        residual: float32 array `[B]`. `difference` less the sum of the values, which is the error of the integral.
        steps: integer. The points of the path at which gradients were computed.
    """

    values: np.ndarray
    difference: np.ndarray
    residual: np.ndarray
    steps: int


def class_score(classes: Sequence[int]) -> Score:
    """Returns the score of a class: its log-odds in nats, of the logits `[B, C]` of a classifier.

    These are log p - log(1 - p). Unlike the probability p or its logarithm they are not flat where a classifier is
    sure.

    Args:
        classes: sequence of B integers. A class for each example; of a binary classifier with one logit 0 or 1.
    """
    chosen = np.asarray(classes, "int32")

    def score(outputs):
        logits = ops.cast(outputs, "float32")
        if logits.shape[-1] == 1:
            return logits[:, 0] * (2.0 * chosen - 1.0)
        return _log_odds(logits, chosen)

    return score


def target_score(tokens: Any, pad_id: int = 0) -> Score:
    """Returns the score of targets: the sum of the log-odds of their tokens, of logits `[B, T, V]`.

    Args:
        tokens: integer array `[B, T]`. What is scored; padding counts as nothing, so that a single token is scored
            where all others are padding.
        pad_id: integer. The padding token. Defaults to `0`.
    """
    chosen = np.asarray(tokens, "int32")

    def score(outputs):
        found = _log_odds(ops.cast(outputs, "float32"), chosen)
        return ops.sum(ops.where(chosen != pad_id, found, 0.0), axis=-1)

    return score


def _log_odds(logits, chosen):
    """Returns the logit of a class or token less the logarithm of the sum of the exponentials of all others."""
    is_chosen = ops.cast(ops.one_hot(chosen, logits.shape[-1], dtype="float32"), "bool")
    others = ops.logsumexp(ops.where(is_chosen, -1e30, logits), axis=-1)
    return ops.take_along_axis(logits, chosen[..., None], axis=-1)[..., 0] - others


def mean_score(outputs: Any) -> Any:
    """Returns the mean of all outputs of each example: the score of predicted numbers, such as a forecast.

    Args:
        outputs: float tensor `[B, ...]`.
    """
    outputs = ops.cast(outputs, "float32")
    return ops.mean(ops.reshape(outputs, (ops.shape(outputs)[0], -1)), axis=-1)


def similarity_score(outputs: Any) -> Any:
    """Returns the product of the two vectors in the output of a dual encoder.

    Args:
        outputs: float tensor `[B, 2 * D]`.
    """
    first, second = ops.split(ops.cast(outputs, "float32"), 2, axis=-1)
    return ops.sum(first * second, axis=-1)


def saliency(model: keras.Model, inputs: Mapping[str, Any], score: Score, source: str = "source") -> np.ndarray:
    """Returns the gradient of a score by the numbers of a source, in which a small change matters most.

    For token ids these are the numbers of their embedding, with its positions. A source of sentences has a vector for
    each sentence.

    Args:
        model: `keras.Model`.
        inputs: dictionary. The inputs of the model.
        score: function of the outputs of the model that returns a tensor `[B]`, such as `class_score([3])`.
        source: string. The input: `"source"`, `"source_2"` and so on, or `"targets"` of a language model, whose
            position t holds the target t - 1. Defaults to `"source"`.

    Returns:
        float32 array of the shape of the source, `[B, S, D]` for token ids.

    Raises:
        SetupError: if the backend has no gradients here.

    Example:

    ```python
    import kerazoo as kz
    import numpy as np

    model = kz.create("mlp_classifier", input_shape=(5,), num_classes=3)
    inputs = {"source": np.ones((1, 5), "float32")}
    assert kz.inspect.saliency(model, inputs, kz.inspect.class_score([2])).shape == (1, 5)
    ```

    Reference:
        Simonyan, Vedaldi and Zisserman (2013), Deep Inside Convolutional Networks, arXiv:1312.6034.
    """
    path = _Path(model, inputs, score, source)
    return path.gradient(path.values)[1]


def integrated_gradients(
    model: keras.Model,
    inputs: Mapping[str, Any],
    score: Score,
    source: str = "source",
    *,
    baseline: Any = None,
    tolerance: float = 0.01,
    max_steps: int = 512,
) -> IntegratedGradients:
    """Returns how much each number of a source adds to a score, compared with a baseline.

    The gradient is integrated along the straight line from the baseline to the source by the rule of Gauss and
    Legendre, and multiplied by their difference. The points are dense near the baseline, where the normalization of
    vectors that are almost zero changes fast. The sum of the values is then the difference of the two scores
    (completeness); the number of points is doubled until it is, within the tolerance.

    Args:
        model: `keras.Model`.
        inputs: dictionary. The inputs of the model.
        score: function of the outputs of the model that returns a tensor `[B]`.
        source: string. As for `saliency`. Defaults to `"source"`.
        baseline: array of the shape of the source, in place of which it counts. Defaults to `None`: zeros, and for
            token ids the embedding of padding, with the positions of the tokens.
        tolerance: float, above 0. The largest residual, as a share of the difference. Defaults to `0.01`.
        max_steps: integer, at least 16. The largest number of points; beyond it the residual stays as it is. Defaults
            to `512`.

    Returns:
        `IntegratedGradients`.

    Raises:
        ValueError: if the baseline has another shape.

    Example:

    ```python
    import kerazoo as kz
    import numpy as np

    model = kz.create("mlp_classifier", input_shape=(5,), num_classes=3)
    inputs = {"source": np.ones((1, 5), "float32")}
    found = kz.inspect.integrated_gradients(model, inputs, kz.inspect.class_score([2]))
    assert abs(found.values.sum() - found.difference[0]) < 0.01 * abs(found.difference[0]) + 1e-4
    ```

    Reference:
        Sundararajan, Taly and Yan (2017), Axiomatic Attribution for Deep Networks, arXiv:1703.01365.
    """
    _checks.number("integrated_gradients", "tolerance", tolerance, low=0, low_open=True)
    path = _Path(model, inputs, score, source)
    end, start = path.values, path.baseline() if baseline is None else np.asarray(baseline, np.float32)
    if start.shape != end.shape:
        raise ValueError(f"integrated_gradients: `baseline` must have the shape {end.shape}; got {start.shape}.")
    difference = path.gradient(end)[0] - path.gradient(start)[0]
    steps = FIRST_STEPS
    while True:
        points, weights = np.polynomial.legendre.leggauss(steps)
        mean = np.zeros(end.shape, np.float64)
        for point, weight in zip((points + 1) / 2, weights / 2):
            share, factor = point**DENSITY, DENSITY * point ** (DENSITY - 1) * weight
            mean += factor * path.gradient((start + share * (end - start)).astype(np.float32))[1]
        values = ((end - start) * mean).astype(np.float32)
        residual = difference - values.reshape(len(values), -1).sum(axis=1)
        if np.all(np.abs(residual) <= tolerance * np.abs(difference) + 1e-5) or 2 * steps > max_steps:
            return IntegratedGradients(values, difference, residual, steps)
        steps *= 2


class _Path:
    """The score of a model as a function of the numbers of one source, with its gradient, as one program."""

    def __init__(self, model: keras.Model, inputs: Mapping[str, Any], score: Score, source: str):
        if source not in inputs:
            raise ValueError(f"inspect: `source` must be an input, {', '.join(map(repr, inputs))}; got {source!r}.")
        self.inputs = {name: np.asarray(value) for name, value in inputs.items()}
        self.model, self.score, self.source = model, score, source
        if not model.built:
            model(self.inputs, training=False)
        self.embedding, self.index = None, 0
        if self.inputs[source].dtype.kind in "iu":
            self.embedding, self.index = embedding_call(model, source)
        self.values = self._embedded(self.inputs)
        scored = _backend.value_and_gradient(lambda x, inputs: self.score(self._forward(x, inputs)))
        self._program = _backend.compile(scored, model.variables)

    def gradient(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores `[B]` and their gradient for other numbers of the source."""
        scores, gradient = self._program(values, self.inputs)
        return np.asarray(ops.convert_to_numpy(scores)), np.asarray(ops.convert_to_numpy(gradient), np.float32)

    def baseline(self) -> np.ndarray:
        """Returns zeros, or the embedding of padding in place of tokens."""
        if self.embedding is None:
            return np.zeros_like(self.values)
        padding = np.full_like(self.inputs[self.source], self.embedding.pad_id)
        return self._embedded({**self.inputs, self.source: padding})

    def _embedded(self, inputs):
        """Returns the numbers of the source: itself, or what its embedding returns in a run of the model."""
        if self.embedding is None:
            return inputs[self.source].astype(np.float32)
        found: list[Any] = []
        with self._at_the_call(lambda call, args, kwargs: found.append(call(*args, **kwargs)) or found[0]):
            self.model(inputs, training=False)
        return np.asarray(ops.convert_to_numpy(ops.cast(found[0], "float32")))

    def _forward(self, x, inputs):
        if self.embedding is None:
            return self.model({**inputs, self.source: x}, training=False)
        replaced = ops.cast(x, self.embedding.compute_dtype)
        with self._at_the_call(lambda call, args, kwargs: replaced):
            return self.model(inputs, training=False)

    def _at_the_call(self, function):
        """Within it, `function` takes the call of the embedding that embeds the source."""
        numbers = itertools.count()

        def replace(call):
            def replaced_call(*args, **kwargs):
                if kwargs.get("reverse") or next(numbers) != self.index:
                    return call(*args, **kwargs)
                return function(call, args, kwargs)

            return replaced_call

        return replaced_calls([(self.embedding, replace)])


def embedding_call(model: keras.Model, source: str) -> tuple[TokenEmbedding, int]:
    """Returns the embedding of a source, and how often the model calls it for other inputs before that.

    Args:
        model: a model of kerazoo.
        source: string. The name of the input.

    Raises:
        ValueError: if the model has no embedding of its own for it.
    """
    embedding_of: Any = getattr(model, "embedding_of", None)
    names = getattr(model, "source_names", ())
    if source in names and embedding_of is not None:
        found = {name: embedding_of(name) for name in names}
        before = [name for name in names[: names.index(source)] if found[name] is found[source]]
        if isinstance(found[source], TokenEmbedding):
            return found[source], len(before)
    embedding = getattr(model, "target_embedding", None)
    if source == "targets" and isinstance(embedding, TokenEmbedding):
        return embedding, sum(embedding_of(name) is embedding for name in names) if embedding_of else 0
    raise ValueError(f"{type(model).__name__}: has no embedding of the token ids of `source`; got source={source!r}.")


def by_position(values: Any, positions: int = 1) -> np.ndarray:
    """Returns the sum of attributions over all axes after those of the batch and of the positions.

    Args:
        values: array `[B, S, ...]`, or `[B, H, W, ...]` with two axes of positions.
        positions: integer. The number of axes of positions. Defaults to `1`.
    """
    values = np.asarray(values)
    return values.reshape(*values.shape[: 1 + positions], -1).sum(axis=-1)


def draw_attribution(
    rows: Mapping[str, Any],
    labels: Sequence[Any] | None = None,
    source: Any = None,
    title: str = "",
    position_label: str = "position",
    origin: str = "upper",
    row_label: str = "",
    variables: Sequence[str] | None = None,
) -> bytes:
    """Returns attributions as a picture, the bytes of a PNG file: orange adds to the score, purple takes from it.

    Attributions by position are bars, one panel for each method. Those of images, or of other grids such as frames and
    bands of a sound, are heat maps beside the source.

    Args:
        rows: dictionary of the name of a method, with its unit, to its attributions, an array `[S]` or `[H, W]`.
        labels: sequence of S labels, such as tokens. Defaults to `None`: numbers.
        source: array `[H, W]` or `[H, W, C]`, plotted beside heat maps, or the lines `[S, V]` of a series above bars.
            Defaults to `None`.
        title: string. Above the picture. Defaults to `""`.
        position_label: string. What the positions, or the columns of heat maps, are, with their unit. Defaults to
            `"position"`.
        origin: `"upper"` or `"lower"`. Where the first row of a heat map is; frequencies of a sound begin below.
            Defaults to `"upper"`.
        row_label: string. What the rows of heat maps are, with their unit. Defaults to `""`.
        variables: sequence of V names of the lines of a series. Defaults to `None`: the lines have no legend.

    Raises:
        SetupError: if the package matplotlib is not installed.
    """
    arrays = {name: np.asarray(values, np.float64) for name, values in rows.items()}
    if next(iter(arrays.values())).ndim == 2:
        return _draw_grids(arrays, source, title, origin, (position_label, row_label))
    count = len(next(iter(arrays.values())))
    series = None if source is None else np.asarray(source, np.float64).reshape(count, -1)
    panels = len(arrays) + (series is not None)
    width = min(16.0, max(5.0, 0.26 * count + 1.5)) if labels is not None else 9.0
    bar = 0.8 if labels is not None else 1.0  # many bars beside each other show a pattern of gaps
    figure = figures.new_figure(width, 1.7 * panels + 0.8)
    axes = list(figure.subplots(panels, 1, squeeze=False, sharex=True)[:, 0])
    if series is not None:
        panel = axes.pop(0)
        for variable in range(min(series.shape[1], MAX_ROWS)):
            color = figures.COLOURS[variable % len(figures.COLOURS)]
            name = None if variables is None else figures.label(variables[variable])
            panel.plot(series[:, variable], linewidth=1, color=color, label=name)
        panel.set_ylabel("source", fontsize=8)
        if variables is not None:
            panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    for panel, (name, values) in zip(axes, arrays.items()):
        panel.bar(np.arange(count), values, color=np.where(values < 0, "#7570B3", "#D95F02"), width=bar)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set_ylabel(name, fontsize=8)
        panel.tick_params(axis="y", labelsize=7)
    figures.set_labels(axes[-1].xaxis, labels, count, 90)
    axes[-1].set_xlabel(position_label, fontsize=9)
    figures.set_title(figure, title)
    return figures.png(figure)


def _draw_grids(arrays, source, title, origin, axis_labels):
    """Draws heat maps `[H, W]` beside their source; wide ones below each other."""
    height, width = next(iter(arrays.values())).shape
    panels = len(arrays) + (source is not None)
    is_wide = width > 2.5 * height
    shape = (panels, 1) if is_wide else (1, panels)
    size = (9.0, 1.9 * panels + 0.6) if is_wide else (3.0 * panels + 0.6, 3.0 * min(2.0, height / width) + 0.8)
    figure = figures.new_figure(*size)
    axes = list(figure.subplots(*shape, squeeze=False).ravel())
    options = {"origin": origin, "aspect": "auto" if is_wide else "equal"}
    if source is not None:
        panel, pixels = axes.pop(0), np.asarray(source, np.float64)
        pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] != 3 else pixels
        panel.imshow(pixels, cmap="gray", **options)
        panel.set_title("source", fontsize=9)
    for panel, (name, values) in zip(axes, arrays.items()):
        largest = max(float(np.abs(values).max()), 1e-12)
        image = panel.imshow(values, cmap="PuOr_r", vmin=-largest, vmax=largest, **options)
        panel.set_title(name, fontsize=9)
        figure.colorbar(image, ax=panel, shrink=0.8).ax.tick_params(labelsize=7)
    for panel in figure.axes:
        panel.tick_params(labelsize=7)
    figure.supxlabel(axis_labels[0], fontsize=9)
    figure.supylabel(axis_labels[1], fontsize=9)
    figures.set_title(figure, title)
    return figures.png(figure)
