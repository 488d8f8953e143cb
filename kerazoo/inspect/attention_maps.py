"""The weights of self-attention and cross-attention, of all layers and heads, and their picture as heat maps."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.inspect import figures
from kerazoo.layers import AlignmentAttention, Attention, CrossAttention
from kerazoo.models.layer_paths import layers
from kerazoo.models.replaced_calls import numbered, replaced_calls

MAX_PANELS = 16


def attention_maps(model: keras.Model, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the attention weights of a model for some inputs: of each layer that attends, by its path.

    The model runs once, and each of its attentions is asked for the weights that it computes on the way; layers and
    weights stay as they are. A layer that is called several times, such as the shared blocks of a Universal
    Transformer, has a number after its path from the second call on: `encoder.block_0.attention:2`.

    Args:
        model: `keras.Model`.
        inputs: dictionary. The inputs of the model; those of a decoder have `"targets"`, what it has generated.

    Returns:
        A dictionary of path to float32 array `[B, H, T, S]`: head h of position t attends to position s. The one
        attention of an LSTM decoder is one head. It is empty for a model without attention. The queries of a decoder
        are shifted: row t is what the target t is predicted from.

    Example:

    ```python
    import kerazoo as kz
    import numpy as np

    model = kz.create("lstm_seq2seq_attention", source_vocabulary_size=11, target_vocabulary_size=13)
    maps = kz.inspect.attention_maps(model, {"source": np.array([[5, 6, 7]]), "targets": np.array([[8, 9]])})
    assert maps["decoder.attention"].shape == (1, 1, 2, 3)
    ```
    """
    if not model.built:
        model(inputs, training=False)
    found: dict[str, Any] = {}

    def recording(path, layer):
        aligns = isinstance(layer, AlignmentAttention)

        def recorded(call):
            def recorded_call(*args, **kwargs):
                wanted = aligns or kwargs.get("return_attention_scores")
                outputs, weights = call(*args, **kwargs if aligns else {**kwargs, "return_attention_scores": True})
                found[numbered(path, found)] = weights[:, None] if aligns else weights  # [B, H, T, S]
                return (outputs, weights) if wanted else outputs

            return recorded_call

        return layer, recorded

    attending: dict[int, tuple[str, keras.layers.Layer]] = {}
    for path, layer in layers(model).items():
        if isinstance(layer, Attention | CrossAttention | AlignmentAttention):
            attending.setdefault(id(layer), (path, layer))
    if attending:
        with replaced_calls([recording(*each) for each in attending.values()]):
            model(inputs, training=False)
    return {path: np.asarray(ops.convert_to_numpy(weights), np.float32) for path, weights in found.items()}


def draw_attention(
    weights: Any,
    rows: Sequence[Any] | None = None,
    columns: Sequence[Any] | None = None,
    title: str = "",
    row_label: str = "position that attends",
    column_label: str = "position that is attended to",
) -> bytes:
    """Returns attention weights as a picture, a heat map for each head: the bytes of a PNG file.

    Args:
        weights: array `[T, S]` or `[H, T, S]`, of which the first 16 heads are plotted.
        rows: sequence of T labels, such as tokens. Defaults to `None`: their numbers.
        columns: sequence of S labels. Defaults to `None`: their numbers.
        title: string. Above the picture. Defaults to `""`.
        row_label: string. What the rows are. Defaults to `"position that attends"`.
        column_label: string. What the columns are. Defaults to `"position that is attended to"`.

    Raises:
        ValueError: if the weights have another number of axes.
        SetupError: if the package matplotlib is not installed.
    """
    maps = np.asarray(weights, np.float32)
    _checks.rank("draw_attention", "weights", maps.shape, (2, 3))
    maps = maps[None] if maps.ndim == 2 else maps[:MAX_PANELS]
    count, (height, width) = len(maps), maps.shape[1:]
    across = min(4, count, max(1, round(24 / max(4, 0.24 * width))))
    down = math.ceil(count / across)
    across = math.ceil(count / down)  # without gaps
    size = (min(10, max(2.6, 0.24 * width + 1.2)), min(10, max(2.4, 0.24 * height + 1.2)))
    figure = figures.new_figure(across * size[0] + 0.8, down * size[1] + 0.6)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    rotation = 90 if max((len(str(each)) for each in columns or ()), default=0) > 2 else 0
    image = None
    for number, panel in enumerate(panels):
        if number >= count:
            panel.set_axis_off()
            continue
        image = panel.imshow(maps[number], cmap="viridis", vmin=0, vmax=max(float(maps.max()), 1e-6), aspect="auto")
        figures.set_labels(panel.xaxis, columns, width, rotation)
        figures.set_labels(panel.yaxis, rows, height)
        if count > 1:
            panel.set_title(f"head {number}", fontsize=9)
    figure.supxlabel(column_label, fontsize=9)
    figure.supylabel(row_label, fontsize=9)
    figures.set_title(figure, title)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.8)
    bar.set_label("attention weight", fontsize=9)
    return figures.png(figure)
