"""The gates and states of the LSTM layers of a model along a sequence, and their picture."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kerazoo.inspect import figures
from kerazoo.layers import LSTM
from kerazoo.models.layer_paths import layers
from kerazoo.models.replaced_calls import numbered, replaced_calls


class LSTMGates(NamedTuple):
    """The gates and states of an LSTM layer at each position, float32 arrays `[B, T, U]`.

    At padding they are NaN.

    Args:
        input: the input gate, of how much of the candidate is stored.
        forget: the forget gate, of how much of the state is kept.
        candidate: what the position offers to the state.
        output: the output gate, of how much of the state is seen.
        state: the state c after the position.
        outputs: the output h of the position.
    """

    input: np.ndarray
    forget: np.ndarray
    candidate: np.ndarray
    output: np.ndarray
    state: np.ndarray
    outputs: np.ndarray


def lstm_gates(model: keras.Model, inputs: Mapping[str, Any]) -> dict[str, LSTMGates]:
    """Returns the gates and states of all LSTM layers of a model for some inputs, by the path of the layer.

    The model runs once and the inputs of its LSTM layers are recorded; each position is then computed by the layer's
    own step.

    Args:
        model: `keras.Model`.
        inputs: dictionary. The inputs of the model; those of a decoder have `"targets"`.

    Returns:
        A dictionary of path to `LSTMGates`, empty for a model without `kerazoo.layers.LSTM`.

    Example:

    ```python
    import kerazoo as kz
    import numpy as np

    model = kz.create("lstm_lm", vocabulary_size=11, units=7)
    gates = kz.inspect.lstm_gates(model, {"targets": np.array([[5, 6, 7]])})
    assert gates["decoder.lstm_0"].forget.shape == (1, 3, 7)
    ```

    Reference:
        Karpathy, Johnson and Fei-Fei (2015), Visualizing and Understanding Recurrent Networks, arXiv:1506.02078.
    """
    if not model.built:
        model(inputs, training=False)
    calls: dict[str, tuple] = {}

    def recording(path, layer):
        def recorded(call):
            def recorded_call(x, initial_state=None, padding_mask=None, **kwargs):
                mask = padding_mask if padding_mask is not None else kwargs.get("mask", kwargs.get("inputs_mask"))
                calls[numbered(path, calls)] = layer, x, initial_state, mask
                return call(x, initial_state=initial_state, padding_mask=padding_mask, **kwargs)

            return recorded_call

        return layer, recorded

    found = {id(layer): (path, layer) for path, layer in reversed(layers(model).items()) if isinstance(layer, LSTM)}
    if found:
        with replaced_calls([recording(*each) for each in reversed(found.values())]):
            model(inputs, training=False)
    return {path: _gates(*call) for path, call in calls.items()}


def _gates(layer, inputs, state, mask):
    """Returns the gates of a layer, computed position by position in its direction."""
    inputs = np.asarray(ops.convert_to_numpy(ops.cast(inputs, "float32")))
    batch, length = inputs.shape[:2]
    valid = np.ones((batch, length), bool) if mask is None else np.asarray(ops.convert_to_numpy(mask), bool)
    state = layer.zero_state(batch) if state is None else tuple(state)
    names = LSTMGates._fields
    arrays = {name: np.full((batch, length, layer.units), np.nan, np.float32) for name in names}
    for t in reversed(range(length)) if layer.reverse else range(length):
        here = valid[:, t, None]
        found, new = layer.gates(inputs[:, t], state)
        values = {**found, "outputs": new[0], "state": new[1]}
        for name in names:
            value = np.asarray(ops.convert_to_numpy(ops.cast(values[name], "float32")))
            arrays[name][:, t] = np.where(here, value, np.nan)
        state = tuple(ops.where(here, after, before) for after, before in zip(new, state))
    return LSTMGates(**arrays)


def draw_gates(
    gates: LSTMGates, labels: Sequence[Any] | None = None, title: str = "", position_label: str = "position"
) -> bytes:
    """Returns the gates and states of one example as a picture, the bytes of a PNG file: units by positions.

    Args:
        gates: `LSTMGates` of one example, arrays `[T, U]`.
        labels: sequence of T labels, such as tokens. Defaults to `None`: numbers.
        title: string. Above the picture. Defaults to `""`.
        position_label: string. What the positions are. Defaults to `"position"`.

    Raises:
        SetupError: if the package matplotlib is not installed.
    """
    length, units = np.shape(gates.input)
    size = (min(7.5, max(3.2, 0.22 * length + 1.2)), min(5.0, max(2.2, 0.03 * units + 1.4)))
    figure = figures.new_figure(3 * size[0], 2 * size[1] + 0.5)
    panels = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    titles = ("input gate", "forget gate", "output gate", "candidate", "state c", "output h")
    chosen = (gates.input, gates.forget, gates.output, gates.candidate, gates.state, gates.outputs)
    for panel, name, values in zip(panels, titles, chosen):
        is_gate = name.endswith("gate")
        largest = 1.0 if name != "state c" else max(1.0, float(np.nanmax(np.abs(values), initial=0.0)))
        limits = {"cmap": "viridis", "vmin": 0, "vmax": 1}
        if not is_gate:
            limits = {"cmap": "PuOr_r", "vmin": -largest, "vmax": largest}
        image = panel.imshow(np.asarray(values).T, aspect="auto", **limits)
        panel.set_title(name, fontsize=9)
        figures.set_labels(panel.xaxis, labels, length, 90)
        figure.colorbar(image, ax=panel).ax.tick_params(labelsize=7)
    figure.supxlabel(position_label, fontsize=9)
    figure.supylabel("unit", fontsize=9)
    figures.set_title(figure, title)
    return figures.png(figure)
