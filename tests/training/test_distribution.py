"""Several devices, made of one processor in a process of its own: training equals that on one device."""

import os
import pathlib
import subprocess
import sys
import types

import keras
import pytest

import kerazoo as kz
from kerazoo import _backend
from kerazoo.run import options
from kerazoo.training import distribution, layouts

TENSORFLOW = keras.backend.backend() == "tensorflow"
SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "devices.py"


def run_checks(*names):
    """Runs checks of `tests/devices.py` in one fresh process."""
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    line = [sys.executable, str(SCRIPT), *names]
    done = subprocess.run(line, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.split()


@pytest.mark.slow  # the short form is in `test_devices_table.py`
def test_several_devices_equal_one():
    names = ["dense", "lstm", "transformer", "arrays", "stream", "restore"]
    names += [] if TENSORFLOW else ["two", "model", "model_four", "model_lstm"]
    assert run_checks(*names) == names


@pytest.mark.skipif(not TENSORFLOW, reason="strategies are TensorFlow's")
def test_other_strategies_are_refused():
    from kerazoo.training._block_tensorflow import count_devices

    class ElsewhereStrategy:
        num_replicas_in_sync = 3

    with pytest.raises(ValueError, match=r"on one device or under tf.distribute.MirroredStrategy; got a Elsewhere.* 3"):
        count_devices("fit", types.SimpleNamespace(distribute_strategy=ElsewhereStrategy()))


def test_placements_are_those_of_the_options():
    assert options.PLACEMENTS == distribution.PLACEMENTS


def test_auto_is_one_device_where_there_is_one():
    found = distribution.choose()
    assert found.name == "single" and str(found) == "single" and found.devices == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"placement": "triple"}, "`placement` must be one of .*'mirrored'.*got .*'triple'"),
        ({"mesh": "data"}, "`mesh` must be AXIS:NUMBER, each axis once, such as 'data:4,model:2'; got mesh='data'"),
        ({"mesh": "data:0"}, "AXIS:NUMBER.*got mesh='data:0'"),
        ({"mesh": "data:2,data:2"}, "each axis once.*got mesh='data:2,data:2'"),
        ({"mesh": "rows:2"}, "`mesh` must be one of 'data', 'model'.*'rows'"),
        ({"mesh": "data:5"}, "the devices that there are, 1; got mesh='data:5'"),
        ({"placement": "single", "mesh": "data:1,model:3"}, "model:3|axis data only"),
        (
            {"placement": "data_parallel" if TENSORFLOW else "mirrored"},
            "`placement` must be auto, single or .* on the backend (tensorflow|jax); got placement=.*KERAS_BACKEND=",
        ),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        distribution.choose(**arguments)


@pytest.mark.skipif(not TENSORFLOW, reason="copies are TensorFlow's")
@pytest.mark.parametrize(
    "arguments, reason",
    [
        ({"loss": kz.training.InBatchCrossentropy()}, "in_batch_crossentropy compares all examples of a batch"),
        ({"dtype": "mixed_float16"}, "each copy would scale its loss by itself; got dtype='mixed_float16'"),
        ({"gradient_accumulation_steps": 3}, "on one device; got gradient_accumulation_steps=3"),
    ],
)
def test_copies_refuse_what_they_cannot_compute(arguments, reason):
    with pytest.raises(ValueError, match=f"cannot be mirrored: .*{reason}.*placement='single'"):
        distribution.choose("mirrored", **arguments)
    assert distribution.choose("auto", **arguments).name == "single"


M = "model"
# What is meant for each kind of variable, by the end of its path: the axes that `model` divides, None for a variable
# that each device holds. Written down again here, beside the patterns, as a check on them.
MEANT = {
    "attention/query_key_value/kernel": (None, M),
    "attention/query_key_value/bias": (M,),
    "attention/output/kernel": (M, None),
    "attention/output/bias": None,
    "attention/key/kernel": (None, M),
    "attention/query/kernel": (None, M),
    "attention/query/bias": (M,),
    "cross_attention/query/kernel": (None, M),
    "cross_attention/query/bias": (M,),
    "cross_attention/key_value/kernel": (None, M),
    "cross_attention/key_value/bias": (M,),
    "cross_attention/output/kernel": (M, None),
    "cross_attention/output/bias": None,
    "feed_forward/expand/kernel": (None, M),
    "feed_forward/expand/bias": (M,),
    "feed_forward/contract/kernel": (M, None),
    "feed_forward/contract/bias": None,
    "table/embeddings": (M, None),
    "head/kernel": (None, M),
    "head/bias": (M,),
    "values/kernel": (None, M),
    "values/bias": (M,),
    "dense/kernel": (None, M),
    "dense/bias": (M,),
    "mean/kernel": (None, M),
    "mean/bias": (M,),
    "log_variance/kernel": (None, M),
    "log_variance/bias": (M,),
}
WHOLE = (
    "gamma", "beta", "scale", "moving_mean", "moving_variance", "recurrent_kernel", "lstm_cell/kernel",
    "lstm_cell/bias", "bridge/kernel", "bridge/bias", "decoder/output/kernel", "decoder/output/bias",
    "condition/kernel", "convolution/kernel", "projection/kernel", "projection/bias", "patches/kernel", "patches/bias",
    "mix/kernel", "mix/bias", "positions/table", "decoder/rows", "decoder/columns", "decoder/channels", "trend/kernel",
    "trend/bias", "rest/kernel", "rest/bias", "energy/kernel", "gate/kernel", "gate/bias", "word_positions",
    "seed_generator_state", "transform/kernel", "transform/bias",
)  # fmt: skip
COMPOSED = {
    "conv+lstm": {"source_vocabulary_size": 13, "vocabulary_size": 11},
    "lstm+transformer": {"source_vocabulary_size": 13, "vocabulary_size": 11},
    "conv_lstm+lstm": {"input_shape": (23, 7), "vocabulary_size": 11},
    "conv_transformer+transformer": {"input_shape": (23, 7), "vocabulary_size": 11},
    "vit+transformer": {"input_shape": (8, 8, 3), "vocabulary_size": 11},
    "lstm+lstm_values": {"input_shape": (7, 3), "num_values": 3, "output_length": 5},
}


def meant(path):
    """The axes of a variable as this file states them."""
    import re

    plain = re.sub(r"_\d+(?=/|$)", "", path)
    found = [axes for end, axes in MEANT.items() if plain.endswith("/" + end)]
    found += [None for end in WHOLE if plain.endswith(end)]
    assert len(found) == 1, f"{path}: {found}"
    return found[0]


def distinct_models():
    """The rows of the catalog, one of those that differ in numbers only."""
    found = {}
    for name in kz.list_models():
        spec = kz.describe(name)
        found.setdefault((spec.class_name, *(value for value in spec.sizes.values() if isinstance(value, str))), name)
    return found.values()


@pytest.mark.parametrize("name", [*distinct_models(), *COMPOSED])
def test_layouts(name):
    """Every variable of every model has the layout that is meant for it, by one rule alone."""
    import re

    with _backend.no_memory():
        layers = {each: 1 for each in kz.catalog.arguments(name) if each.startswith("num_") and "layers" in each}
        model = kz.create(name, **{**layers, **COMPOSED.get(name, {})})
        if not model.built:
            model.build_from_inputs()
    for variable in model.variables:
        rules = [axes for pattern, axes in layouts.LAYOUTS.items() if re.fullmatch(pattern, variable.path)]
        rules += [None for pattern in layouts.REPLICATED if re.fullmatch(pattern, variable.path)]
        assert len(rules) == 1, f"{variable.path}: {rules}"
        assert rules[0] == meant(variable.path), variable.path
        assert rules[0] is None or len(rules[0]) == len(variable.shape), variable.path
