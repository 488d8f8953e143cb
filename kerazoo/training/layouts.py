"""How the weights of the layers are divided among the devices of the axis `model`: one table of rules.

The rules are those of Megatron-LM: of two products that follow each other the first kernel is divided by columns and
the second by rows, so that only the sum after the second one is exchanged. What is small, or is needed whole in every
step of a recurrence, is replicated.

Reference: Shoeybi et al. 2019, Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism,
arXiv:1909.08053.
"""

from typing import Any

import keras

MODEL = "model"

# Pattern of the path of a variable -> its axes; a path matches one pattern at most.
LAYOUTS: dict[str, tuple[str | None, ...]] = {
    r".*/(query|key|value|key_value|query_key_value)/kernel": (None, MODEL),  # columns: heads
    r".*/(query|key|value|key_value|query_key_value)/bias": (MODEL,),
    r".*attention/output/kernel": (MODEL, None),
    r".*feed_forward/expand/kernel": (None, MODEL),
    r".*feed_forward/expand/bias": (MODEL,),
    r".*feed_forward/contract/kernel": (MODEL, None),
    r".*(^|/)embeddings": (MODEL, None),  # rows: words
    r".*(^|/)(head|values)/kernel": (None, MODEL),  # columns: words, classes or values
    r".*(^|/)(head|values)/bias": (MODEL,),
    r".*(^|/)dense(_\d+)?/kernel": (None, MODEL),
    r".*(^|/)dense(_\d+)?/bias": (MODEL,),
    r".*(^|/)bottleneck/(mean|log_variance)/kernel": (None, MODEL),
    r".*(^|/)bottleneck/(mean|log_variance)/bias": (MODEL,),
}

# Pattern -> why each device holds the whole variable.
REPLICATED = {
    r".*(_norm|/norm)(_\d+)?/(gamma|beta|scale|moving_mean|moving_variance)": "one number for each unit",
    r".*attention/output/bias|.*feed_forward/contract/bias": "added after the sum over the devices",
    r".*/lstm_cell/.*": "needed whole in every step of the recurrence",
    r".*decoder/(bridge|output|condition)(_\d+)?/.*|.*/energy/kernel|.*/gate/.*": "read and written by a recurrence",
    r".*/convolution(_\d+)?/kernel|.*(^|/)(projection|patches|mix|transform)/.*": "small beside its activations",
    r".*/(table|rows|columns|channels|word_positions)": "one vector for each position",
    r".*(^|/)(trend|rest)/.*": "small",
    r".*seed_generator_state": "the state of random numbers",
}


def layout_map(mesh: keras.distribution.DeviceMesh) -> keras.distribution.LayoutMap:
    """Returns the rules of the table for a mesh that has the axis `model`."""
    rules = keras.distribution.LayoutMap(mesh)
    for pattern, axes in LAYOUTS.items():
        rules[pattern] = keras.distribution.TensorLayout(axes, mesh)
    return rules


class DividedWeights(keras.distribution.ModelParallel):
    """Divides weights, and the state of the optimizer with them, by the table.

    A variable that no rule names, or whose axis is not divisible by the devices of `model`, is replicated.

    Args:
        mesh: `keras.distribution.DeviceMesh` with the axes `data` and `model`.
    """

    def __init__(self, mesh: keras.distribution.DeviceMesh):
        super().__init__(layout_map=layout_map(mesh), batch_dim_name="data", auto_shard_dataset=False)

    def get_variable_layout(self, variable: Any) -> Any:
        """Returns the `TensorLayout` of a variable."""
        layout = super().get_variable_layout(variable)
        sizes = dict(zip(self.device_mesh.axis_names, self.device_mesh.shape))
        shape = variable.shape
        if len(layout.axes) == len(shape) and all(
            axis is None or size % sizes[axis] == 0 for size, axis in zip(shape, layout.axes)
        ):
            return layout
        return keras.distribution.TensorLayout([None] * len(shape), self.device_mesh)
