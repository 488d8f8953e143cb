"""What every model promises, as one check: `check_model(model, inputs)`. It serves the catalog and the grid."""

import contextlib
import os
import tempfile
from unittest import mock

import keras
import numpy as np
from keras import ops
from toys import JAX, jitted

import kerazoo as kz
from kerazoo import _backend
from kerazoo.decoding import ContinuousDecodable, Decodable

BLOCK = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 11, "dropout": 0.0}

# Tiny sizes of the parts of composed models, and what the outputs of one vector need.
IMAGE_ENCODERS = {"vit": {**BLOCK, "patch_size": (3, 5)}}
ENCODERS = {
    "dense": {"units": (7,)},
    "conv": {"filters": (7, 5), "kernel_size": 3},
    "lstm": {"units": 5, "bidirectional": True},
    "transformer": BLOCK,
}
SUBSAMPLED = {
    "conv_lstm": {"units": 5, "bidirectional": True, "filters": (7, 5)},
    "conv_transformer": {**BLOCK, "filters": (7, 5)},
}
DECODERS = {
    "lstm": {"units": 5, "attention": "additive"},
    "transformer": BLOCK,
    "lstm_values": {"units": 5, "attention": "additive"},
    "transformer_values": BLOCK,
    "dense": {"units": (7,), "activation": "tanh"},
    "variational": {"units": (7,), "activation": "tanh"},
    "classifier": {},
    "binary_classifier": {},
}
VALUES = {"num_values": 2, "output_length": 7}
OUTPUTS = {
    "lstm_values": VALUES,
    "transformer_values": VALUES,
    "dense": {"output_size": 3},
    "variational": {"output_size": 3, "latent_dim": 5},
    "classifier": {"num_classes": 3},
    "binary_classifier": {},
}

# Words of unequal length and what to write for them; 0 pads and 2 ends.
SOURCE = np.array([[3, 4, 5, 6, 7], [8, 9, 0, 0, 0], [5, 5, 10, 0, 0]], "int32")
TARGETS = np.array([[7, 6, 5, 4, 3, 2, 0], [9, 8, 2, 0, 0, 0, 0], [10, 5, 5, 12, 11, 4, 2]], "int32")


def create_tiny(name, **options):
    """Returns the tiny model of a composed name such as `"conv+lstm"`."""
    encoders, decoder = name.split("+")
    sizes = {f"decoder.{size}": value for size, value in DECODERS[decoder].items()}
    for number, encoder in enumerate(encoders.split(","), 1):
        prefix = "encoder" if number == 1 else f"encoder_{number}"
        part = (ENCODERS | SUBSAMPLED | IMAGE_ENCODERS)[encoder]
        sizes |= {f"{prefix}.{size}": value for size, value in part.items()}
    return kz.create(name, **OUTPUTS.get(decoder, {"vocabulary_size": 13}), **sizes, **options)


def check_model(model, inputs, dead=()):
    """Proves the contract of a model; an AssertionError says what is broken.

    Args:
        model: An unbuilt model.
        inputs: What it is called with, NumPy arrays: `"source"` and, for models that write, `"targets"`.
        dead: Parts of the paths of weights that rightly get no gradient.
    """
    logits = check_building(model, inputs)
    check_config(model)
    check_saving(model, inputs, logits)
    if isinstance(model, Decodable):
        check_no_leak(model, inputs, logits)
        check_steps(model, inputs, logits)
        check_greedy(model, inputs)
    if isinstance(model, ContinuousDecodable):
        check_values(model, inputs, logits)
    check_training(model, inputs, dead)


def check_building(model, inputs):
    """A model builds from its own inputs, and is then called on others of another size; logits are float32."""
    if any(value.dtype != "int32" for value in inputs.values()):
        model.build({name: value.shape for name, value in inputs.items()})
    model.build_from_inputs()
    count = model.count_params()
    zeros = model.build_inputs(batch_size=3, length=4)
    assert set(zeros) <= set(inputs), f"build_inputs gives {sorted(zeros)}, the model takes {sorted(inputs)}"
    for name, value in zeros.items():
        assert value.dtype == inputs[name].dtype and value.ndim == inputs[name].ndim and len(value) == 3, name
    logits = called(model, inputs)
    assert logits.dtype == np.float32 and np.isfinite(logits).all()
    assert model.count_params() == count > 0, "the first call makes weights that building did not"
    if isinstance(model, ContinuousDecodable):
        assert logits.shape == (*inputs["targets"].shape[:2], model.output_width)
    elif "targets" in inputs:
        assert logits.shape == (*inputs["targets"].shape, model.vocabulary_size)
    else:
        positions = hasattr(model, "output_length") or hasattr(model, "vocabulary_size")
        assert len(logits) == len(inputs["source"]) and logits.ndim == (3 if positions else 2)
    if len(inputs) == 1:
        (only,) = inputs.values()
        np.testing.assert_allclose(called(model, only), logits, atol=1e-5)
    return logits


def check_config(model):
    config = model.get_config()
    again = type(model).from_config(config)
    assert str(again.get_config()) == str(config), "from_config(get_config()) has another config"
    assert keras.saving.get_registered_name(type(model)).startswith("kerazoo>"), "not registered"


def check_saving(model, inputs, logits):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        again = keras.saving.load_model(path)
    assert type(again) is type(model)
    np.testing.assert_allclose(called(again, inputs), logits, atol=1e-5, err_msg="after loading")
    assert len(again.variables) == len(model.variables), "loading makes another number of variables"


def check_no_leak(model, inputs, logits):
    """No logit sees its own target or a later one."""
    targets = inputs["targets"]
    place = targets.shape[1] // 2
    changed = targets.copy()
    changed[:, place:] = 3 + (changed[:, place:] - 2) % (model.vocabulary_size - 3)
    other = called(model, {**inputs, "targets": changed})
    np.testing.assert_allclose(other[:, : place + 1], logits[:, : place + 1], atol=1e-5, err_msg="a logit sees ahead")


def check_steps(model, inputs, logits):
    """Repeated steps give the full pass."""
    targets = inputs["targets"]
    rows, length = targets.shape
    encoded = jitted(model.encode, model.variables)(inputs) if "source" in inputs else None
    cache = model.start(rows, length, encoded)
    take = jitted(model.step, model.variables)
    before = np.full(rows, model.start_id, "int32")
    for index in range(length):
        step, cache = take(before, cache, ops.convert_to_tensor(index, "int32"))
        step = ops.convert_to_numpy(step)
        assert step.dtype == np.float32
        np.testing.assert_allclose(step, logits[:, index], atol=2e-5, err_msg=f"step {index} is not the full pass")
        before = targets[:, index]


def check_greedy(model, inputs, length=5):
    """Greedy answers are those of the full pass, and sources share a batch without a trace."""
    prompt = [[3], [], [4, 5]]
    source = {name: value[:3] for name, value in inputs.items() if name.startswith("source")}
    with eager_searches():
        found = model.generate(*([source] if source else []), prompt=prompt, max_length=length, jit_compile=False)
    logits = called(model, {**source, "targets": found.tokens[:, 0]}).copy()
    logits[:, :, [model.pad_id, model.start_id]] = -np.inf
    for row, tokens in enumerate(found.tokens[:, 0]):
        assert tokens[: len(prompt[row])].tolist() == prompt[row]
        for place in range(len(prompt[row]), found.lengths[row, 0]):
            assert tokens[place] == logits[row, place].argmax(), f"row {row}, token {place}"
    return found


def check_values(model, inputs, outputs):
    """No output sees its own target; repeated steps are the full pass; generated values are those of full passes."""
    targets = inputs["targets"]
    place = targets.shape[1] // 2
    changed = targets.copy()
    changed[:, place:] += 5
    other = called(model, {**inputs, "targets": changed})
    np.testing.assert_allclose(
        other[:, : place + 1], outputs[:, : place + 1], atol=1e-5, err_msg="an output sees ahead"
    )
    assert np.abs(other[:, place + 1 :] - outputs[:, place + 1 :]).max() > 1e-6, "the decoder does not read its values"
    encoded = jitted(model.encode, model.variables)(inputs)
    cache, before = model.start(*targets.shape[:2], encoded), model.start_values(encoded)
    take = jitted(model.step, model.variables)
    for index in range(targets.shape[1]):
        step, cache = take(before, cache, ops.convert_to_tensor(index, "int32"))
        step = ops.convert_to_numpy(step)
        np.testing.assert_allclose(step, outputs[:, index], atol=2e-5, err_msg=f"step {index} is not the full pass")
        before = targets[:, index]
    source = {name: value for name, value in inputs.items() if name.startswith("source")}
    with eager_searches():
        found = model.generate(source, max_length=5, stop_threshold=0.999999, jit_compile=False)
    again = called(model, {**source, "targets": np.pad(found.values, ((0, 0), (0, targets.shape[1] - 5), (0, 0)))})
    np.testing.assert_allclose(found.outputs, again[:, :5], atol=1e-4, err_msg="generated values are not the full pass")
    assert found.values.shape == (len(targets), 5, model.num_values) and (found.lengths == 5).all()


def eager_searches():
    """Within it, searches run without tracing, which is faster where each runs once; JAX traces them in any case."""
    if JAX:
        return contextlib.nullcontext()
    return mock.patch.object(_backend, "compile", lambda function, variables=(), jit=False: function)


def called(model, inputs):
    """The logits of a built model as a NumPy array."""
    return ops.convert_to_numpy(jitted(model, model.variables)(inputs))


def check_training(model, inputs, dead):
    """One step lowers nothing to NaN and moves the weights; a gradient reaches all of them."""
    rng = np.random.default_rng(0)
    if isinstance(model, ContinuousDecodable):
        labels, loss = rng.random(called(model, inputs).shape).astype("float32"), keras.losses.MeanSquaredError()
    elif "targets" in inputs:
        labels, loss = inputs["targets"], keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    else:
        labels = rng.random(called(model, inputs).shape).astype("float32")
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
    before = [ops.convert_to_numpy(weight).copy() for weight in model.trainable_weights]
    # One eager step costs less than a compilation, but on JAX it compiles every operation.
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=not JAX)
    assert np.isfinite(model.train_on_batch(inputs, labels))
    still = [
        weight.path
        for weight, old in zip(model.trainable_weights, before)
        if np.array_equal(ops.convert_to_numpy(weight), old)
    ]
    assert not [path for path in still if not _rightly_still(path, dead)], f"no gradient: {still}"


def _rightly_still(path, dead):
    # The bias of keys moves all scores of a query by the same amount.
    return (path.endswith("bias") and "attention" in path) or any(part in path for part in dead)
