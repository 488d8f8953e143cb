"""The contract of every layer of kerazoo as one check: `check_layer(cls, config, inputs)`.

The sizes below are primes, and an axis with one of them is taken for batch, target or source; it is then unknown where
shapes are symbolic. So give every other axis of the inputs another size (11, 13, 17, ...).

On TensorFlow one program is compiled for each layer, and its outputs are compared with those of the eager call;
everything else runs eagerly, which takes a fraction of the time. On JAX, where eager calls compile every operation, one
program for each set of shapes does all, and a loaded model is compared by its weights.
"""

import inspect
import json
import os
import tempfile

import keras
import numpy as np
from keras import ops, tree
from toys import JAX

BATCH, TARGET, SOURCE = 3, 7, 5


def check_layer(cls, config, inputs, unknown=(BATCH, TARGET, SOURCE), dead=(), float32=False, tolerance=1e-5):
    """Checks the contract of a layer.

    Args:
        cls: The class.
        config: Its constructor arguments.
        inputs: Call argument -> NumPy array or nest of arrays; the first one is passed by position.
        unknown: The sizes of axes that are unknown in symbolic shapes. The batch comes first and is always axis 0.
        dead: Parts of the paths of weights that get no gradient.
        float32: True where float outputs stay float32 under mixed precision, None where some do.
        tolerance: Largest allowed difference between two ways to compute the same.

    Raises:
        AssertionError: if a part of the contract is broken; the message says which.
    """
    inputs = {name: tree.map_structure(np.asarray, value) for name, value in inputs.items()}
    keras.utils.set_random_seed(7)
    layer = cls(**config)
    eager = None if JAX else arrays(call(layer, inputs))
    model = functional(layer, inputs, unknown)
    check_config(layer)
    compiled = arrays(model.predict_on_batch(inputs))
    eager = compiled if JAX else eager
    check_shapes(model, eager, unknown)
    close(eager, compiled, tolerance, "compiled differs from eager")
    check_other_rows(model, inputs, eager, unknown, tolerance)
    check_other_sizes(model, inputs, eager, unknown)
    check_saving(model, inputs, eager, tolerance)
    check_implicit_masks(layer, model, inputs, tolerance)
    check_gradients(layer, inputs, dead)
    check_mixed_precision(cls, config, inputs, unknown, float32)


def check_config(layer):
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config, "from_config(get_config()) has another config"
    stored = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert stored["registered_name"].startswith("kerazoo>"), f"not registered: {stored['registered_name']}"
    again = keras.saving.deserialize_keras_object(stored)
    assert json.dumps(again.get_config()) == json.dumps(config), "the config changes on its way through JSON"
    parameters = inspect.signature(type(layer).__init__).parameters.values()
    named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - {"self"}
    missing = named - set(config) - set(getattr(layer, "not_in_config", ()))
    assert not missing, f"get_config lacks {sorted(missing)}"


def check_shapes(model, eager, unknown):
    symbolic = tree.flatten(model.output)
    assert len(symbolic) == len(tree.flatten(eager)), "symbolic and eager outputs have another structure"
    for output, value in zip(symbolic, tree.flatten(eager)):
        assert len(output.shape) == value.ndim, f"symbolic {output.shape}, eager {value.shape}"
        for expected, size in zip(output.shape, value.shape):
            assert expected in (None, size), f"symbolic {output.shape}, eager {value.shape}"
        assert output.dtype == keras.backend.standardize_dtype(value.dtype), f"{output.dtype}, eager {value.dtype}"


def check_other_rows(model, inputs, eager, unknown, tolerance):
    """The last row gets the values of the first; the outputs of the others must not change."""

    def swap(x):
        return np.concatenate([x[:-1], x[:1]]) if batched(x, unknown) else x

    def kept(x):
        return x[:-1] if batched(x, unknown) else x

    got = arrays(model.predict_on_batch(tree.map_structure(swap, inputs)))
    close(
        tree.map_structure(kept, eager),
        tree.map_structure(kept, got),
        tolerance,
        "a row depends on the other rows of its batch",
    )


def check_other_sizes(model, inputs, eager, unknown):
    """The same model accepts one row less, each sequence one shorter; its outputs are smaller by as much."""
    smaller = tree.map_structure(lambda x: x[tuple(slice(s - (s in unknown)) for s in x.shape)], inputs)
    for output, before, after in zip(
        tree.flatten(model.output), tree.flatten(eager), tree.flatten(quickly(model, smaller)), strict=True
    ):
        for size, big, small in zip(output.shape, before.shape, after.shape, strict=True):
            if big in unknown:
                assert small == big - (size is None), f"smaller inputs: {before.shape} became {after.shape}"


def check_saving(model, inputs, eager, tolerance):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        loaded = keras.saving.load_model(path)
    paths, again = [w.path for w in model.weights], [w.path for w in loaded.weights]
    assert paths == again, f"paths of weights change (give every sublayer a `name`): {paths} became {again}"
    if JAX:  # an equal config and equal weights give equal outputs
        close([w.value for w in model.weights], [w.value for w in loaded.weights], 0, "the saved weights differ")
        return
    close(eager, quickly(loaded, inputs), tolerance, "the saved model differs after loading")


def check_implicit_masks(layer, explicitly, inputs, tolerance):
    """The mask that Keras passes along has the effect of the same `padding_mask`, which wins where both are given."""
    if "padding_mask" not in inputs:
        return
    mask = inputs["padding_mask"]
    name = "sequence" if "sequence" in inputs else next(iter(inputs))
    zeroed = np.where(mask[..., None], inputs[name], 0).astype(inputs[name].dtype)
    explicit = {**inputs, name: zeroed}
    implicit = {key: value for key, value in explicit.items() if key != "padding_mask"}
    masking = keras.layers.Masking()  # takes vectors of zeros for padding

    symbols = {key: symbol(value, key) for key, value in {**implicit, name: zeroed}.items()}
    model = keras.Model(symbols, call(layer, {**symbols, name: masking(symbols[name])}))
    expected = quickly(explicitly, explicit) if JAX else arrays(call(layer, explicit))
    got = quickly(model, {**implicit, name: zeroed})
    close(expected, got, tolerance, "the mask of Keras is not honoured in a functional model")
    if JAX:  # test_keras_masks.py has eager masks on JAX
        return
    got = arrays(call(layer, {**implicit, name: masking(zeroed)}))
    close(expected, got, tolerance, "the mask of Keras is not honoured")

    valid = np.ones_like(mask)
    expected = arrays(call(layer, {**explicit, "padding_mask": valid}))
    got = arrays(call(layer, {**explicit, "padding_mask": valid, name: masking(zeroed)}))
    close(expected, got, tolerance, "an explicit padding_mask does not win over the mask of Keras")


def check_gradients(layer, inputs, dead=()):
    """Every trainable weight has a gradient of a random linear function of the outputs."""
    if not layer.trainable_weights:  # and perhaps no output that has a gradient
        return
    for weight, gradient in zip(layer.trainable_weights, gradients(layer, inputs)):
        if not any(part in weight.path for part in dead):
            assert gradient is not None, f"no gradient reaches {weight.path}"
            assert np.all(np.isfinite(gradient)) and np.any(gradient), f"a useless gradient reaches {weight.path}"


def check_mixed_precision(cls, config, inputs, unknown=(BATCH, TARGET, SOURCE), float32=False):
    layer = cls(**{**config, "dtype": "mixed_bfloat16"})
    outputs = quickly(functional(layer, inputs, unknown), inputs) if JAX else arrays(call(layer, inputs))
    for part in layer._flatten_layers():
        assert part.compute_dtype == "bfloat16", f"{part.path} computes in {part.compute_dtype}, not in bfloat16"
    for weight in layer.weights:
        kind = keras.backend.standardize_dtype(weight.dtype)
        assert not kind.startswith("bfloat"), f"{weight.path} is stored in {kind}, not in float32"
    for x in tree.flatten(outputs):
        kind = keras.backend.standardize_dtype(x.dtype)
        if "float" in kind:
            allowed = {True: ("float32",), False: ("bfloat16",), None: ("float32", "bfloat16")}[float32]
            assert kind in allowed, f"an output is {kind}, not {' or '.join(allowed)}"
            assert np.all(np.isfinite(x.astype("float32"))), "an output in bfloat16 is not finite"


def call(layer, inputs, **options):
    """Calls a layer with named arguments, the first by position."""
    (_, first), *rest = inputs.items()
    return layer(first, **dict(rest), **options)


def arrays(outputs):
    """The nest of outputs as NumPy arrays."""
    return tree.map_structure(ops.convert_to_numpy, outputs)


def quickly(model, inputs):
    """The outputs of a model for shapes or a dtype that were not used before, as NumPy arrays."""
    return arrays(model.predict_on_batch(inputs) if JAX else model(inputs))


def close(expected, got, tolerance, message):
    # Flat, because a saved functional model turns tuples into lists.
    for a, b in zip(tree.flatten(expected), tree.flatten(got), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=message)


def batched(x, unknown):
    return np.ndim(x) > 0 and np.shape(x)[0] == unknown[0]


def functional(layer, inputs, unknown=(BATCH, TARGET, SOURCE)):
    """A model of this one layer whose batch and lengths are unknown; it takes the dictionary of call arguments."""
    symbols = {name: symbol(value, name, unknown) for name, value in inputs.items()}
    return keras.Model(symbols, call(layer, symbols))


def symbol(x, name=None, unknown=(BATCH, TARGET, SOURCE)):
    """The `keras.Input` of an array, or the nest of them of a nest of arrays."""
    if tree.is_nested(x):
        return tree.map_structure(lambda each: symbol(each, None, unknown), x)
    shape = tuple(None if size in unknown else size for size in x.shape)
    return keras.Input(batch_shape=shape, dtype=keras.backend.standardize_dtype(x.dtype), name=name)


def gradients(layer, inputs):
    """The gradients of a random linear function of the outputs, one NumPy array (or None) for each trainable weight."""
    backend = keras.backend.backend()
    inputs = tree.map_structure(ops.convert_to_tensor, inputs)

    def loss(outputs):
        rng = np.random.default_rng(11)
        floats = [x for x in tree.flatten(outputs) if "float" in keras.backend.standardize_dtype(x.dtype)]
        return sum(ops.sum(ops.cast(x, "float32") * rng.normal(size=x.shape).astype("float32")) for x in floats)

    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss(call(layer, inputs))
        found = tape.gradient(value, [w.value for w in layer.trainable_weights])
        found = [tf.convert_to_tensor(g) if g is not None else None for g in found]
    elif backend == "jax":
        import jax

        (_, first), *rest = inputs.items()
        others = [w.value for w in layer.non_trainable_variables]
        function = jax.grad(lambda weights: loss(layer.stateless_call(weights, others, first, **dict(rest))[0]))
        found = jax.jit(function)([w.value for w in layer.trainable_weights])
    else:
        layer.zero_grad()
        loss(call(layer, inputs)).backward()
        found = [w.value.grad for w in layer.trainable_weights]
    return [None if g is None else ops.convert_to_numpy(g) for g in found]
