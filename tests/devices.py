"""Trains tiny models on several devices, which are made of one processor; a script that tests run in a fresh process.

`python tests/devices.py NAME...` runs the checks of these names. Each prints one line, or raises an error. A check
`table/MODEL/PLACEMENT` prints a row of the table in `docs/devices.md`. With `--process=NUMBER --port=PORT` it is one of
two processes with one device each.
"""

import functools
import json
import math
import os
import sys
import tempfile

PROCESS = {name: int(value) for name, _, value in (a[2:].partition("=") for a in sys.argv if a.startswith("--"))}
DEVICES = 1 if PROCESS else 4
JAX = os.environ.get("KERAS_BACKEND") == "jax"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES} "
    "--xla_backend_optimization_level=0"
)
if not JAX:
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * DEVICES)

import keras  # noqa: E402
import numpy as np  # noqa: E402

import kerazoo as kz  # noqa: E402
from kerazoo.training import distribution, processes  # noqa: E402

WORDS = 32
ROWS = 46
MODELS = {
    "dense": lambda: kz.models.MLPClassifier(input_shape=(6,), units=(8,), num_classes=4),
    "lstm": lambda: kz.models.LSTMSeq2Seq(
        source_vocabulary_size=WORDS, target_vocabulary_size=WORDS, embedding_dim=8, units=8,
        attention="multiplicative", dropout=0.1 if JAX else 0.0,
    ),
    "transformer": lambda: kz.models.TransformerSeq2Seq(
        source_vocabulary_size=WORDS, target_vocabulary_size=WORDS, num_encoder_layers=1, num_decoder_layers=1,
        hidden_dim=16, num_heads=4, intermediate_dim=24, dropout=0.1 if JAX else 0.0, share_embeddings=False,
        tie_output=False,
    ),
}  # fmt: skip
MESHES = {
    "single": "",
    "mirrored": "data:4",
    "data_parallel": "data:4",
    "model_parallel": "data:2,model:2",
    "auto": "",
}


def corpus(kind):
    """Examples of a model: vectors with a class, or texts of 1 to 7 tokens whose target is the text reversed."""
    rng = np.random.default_rng(0)
    if kind == "dense":
        x = rng.normal(size=(ROWS, 6)).astype("float32")
        return kz.data.Corpus({"x": x, "targets": np.argmax(x[:, :4], axis=1)})
    rows = [rng.integers(3, WORDS, rng.integers(1, 8)).tolist() for _ in range(ROWS)]
    targets = [[*row[::-1], 2] for row in rows]
    return kz.data.Corpus({"source": kz.data.Ragged.from_rows(rows), "targets": kz.data.Ragged.from_rows(targets)})


def batch_fn(features, valid):
    """Returns inputs, targets and weights of a batch."""
    targets = features["targets"]
    weights = keras.ops.cast(valid, "float32")
    if "x" in features:
        return features["x"], targets, weights
    weights = keras.ops.cast(targets > 0, "float32") * weights[:, None]
    return {"source": features["source"], "targets": targets}, targets, weights


def train(kind, placement, mesh=None, dtype="float32", epochs=2, store=None, resume=False, **options):
    """Returns the history and the trained model of a placement; `store` saves it, or restores it first."""
    found = distribution.choose(placement, MESHES[placement] if mesh is None else mesh)
    data, policy = corpus(kind), keras.config.dtype_policy()
    plan = kz.data.Plan.of(data, batch_size=12, max_shapes=2)
    keras.config.set_dtype_policy(dtype)
    keras.utils.set_random_seed(1)
    try:
        with found.scope():
            model = MODELS[kind]()
            if not model.built:
                model.build_from_inputs()
            optimizer = keras.optimizers.Adam(0.01, global_clipnorm=0.1)
            loss, metrics = kz.training.SparseCrossentropy(), [kz.training.TokenAccuracy()]
            model.compile(optimizer, loss, weighted_metrics=metrics)
            state = store.restore(model) if resume else None
            history = kz.training.fit(
                model, data, batch_fn, plan, epochs=epochs, validation_data=(data, plan, batch_fn), resume=state,
                **{"steps_per_execution": 4, "jit_compile": False, **options},
            ).history  # fmt: skip
            if store is not None and not resume:
                store.save(model, {"step": epochs * plan.steps, "epoch": epochs, "position": 0})
    finally:
        keras.config.set_dtype_policy(policy)
    return history, model


def same(history, expected, tolerance=1e-5):
    """Fails unless two histories are equal within a relative tolerance."""
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, tolerance, 1e-6, err_msg=name)


def check_equal(kind, placement, mesh=None, **options):
    """The losses and weights of several devices are those of one."""
    expected, one = train(kind, "single", **options)
    history, several = train(kind, placement, mesh, **options)
    same(history, expected)
    for a, b in zip(one.weights, several.weights, strict=True):
        a, b = (keras.ops.convert_to_numpy(each) for each in (a, b))
        np.testing.assert_allclose(a, b, 1e-3, 2e-5, err_msg=f"{kind} {placement}")
    return several


def check_state_is_divided(kind="transformer", mesh="data:2,model:2"):
    """Weights lie on their devices as the table says, and the state of the optimizer lies with them."""
    model = check_equal(kind, "model_parallel", mesh)
    divided = [v for v in model.trainable_variables if any(v._layout.axes)]
    assert len(divided) > 10, len(divided)
    optimizer = model.optimizer
    for variable in model.trainable_variables:
        parts = 2 if any(variable._layout.axes) else 1
        for value in (variable.value, *(v.value for v in _moments(optimizer, variable))):
            held = value.addressable_shards[0].data.size
            assert held * parts == variable.value.size, (variable.path, value.sharding)
    assert 0.5 < divided_share(model.weights) < 1


def divided_share(variables):
    """The share of the numbers in `variables` of which each device holds a part."""
    total = sum(math.prod(each.shape) for each in variables)
    divided = (each for each in variables if any(getattr(getattr(each, "_layout", None), "axes", ())))
    return sum(math.prod(each.shape) for each in divided) / total


def _moments(optimizer, variable):
    name = variable.path.replace("/", "_")
    found = [v for v in optimizer.variables if v.path.split("/")[-1] in (f"{name}_momentum", f"{name}_velocity")]
    assert len(found) == 2, name
    return found


def check_restored_elsewhere(kind="transformer"):
    """What was saved on a mesh continues on one device, and the other way round, as on one device all along."""
    expected, _ = train(kind, "single", epochs=3)
    ways = [("model_parallel", "single"), ("single", "data_parallel")] if JAX else [("mirrored", "single")]
    for first, second in ways:
        with tempfile.TemporaryDirectory() as folder:
            store = kz.training.CheckpointStore(folder)
            train(kind, first, epochs=2, store=store)
            history, _ = train(kind, second, epochs=3, store=store, resume=True)
            same({name: values[-1:] for name, values in history.items()}, {n: v[-1:] for n, v in expected.items()})


def check_fed_otherwise(arrays):
    """Arrays, or batches from outside, are divided among the devices like a corpus."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(34, 6)).astype("float32"), rng.integers(0, 4, 34)
    weights = rng.random(34).astype("float32")
    whole = [slice(start, start + 8) for start in range(0, 32, 8)]
    data = (x, y, weights) if arrays else [(x[rows], y[rows], weights[rows]) for rows in whole]
    found = []
    for placement in ("single", "data_parallel" if JAX else "mirrored"):
        keras.utils.set_random_seed(1)
        with distribution.choose(placement, MESHES[placement]).scope():
            model = MODELS["dense"]()
            model.compile("sgd", kz.training.SparseCrossentropy(), weighted_metrics=[kz.training.TokenAccuracy()])
            options = {"epochs": 2, "steps_per_execution": 3, "jit_compile": False, "batch_size": 8}
            found.append(kz.training.fit(model, data, **options).history)
    same(found[1], found[0])


TABLE = ("XLA", "mixed precision", "accumulation", "resume", "decoding")
WORKS, FALLS_BACK, REFUSES = "works", "falls back", "refuses"


def train_cells(kind, placement, dtype="float32", steps=1, epochs=(2,)):
    """Trains without validation, in one shape of batches; with two numbers of epochs a new model resumes the first."""
    rng, data = np.random.default_rng(0), corpus(kind)
    data = data.take(rng.integers(0, len(data), 48))
    plan, policy = kz.data.Plan.of(data, batch_size=12, max_shapes=1), keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    folder = processes.gather(tempfile.mkdtemp())[0]
    store, state, history = kz.training.CheckpointStore(folder), None, {}
    try:
        for last in epochs:
            keras.utils.set_random_seed(1)
            with placement.scope():
                model = MODELS[kind]()
                if not model.built:
                    model.build_from_inputs()
                optimizer = keras.optimizers.Adam(0.01, global_clipnorm=0.1)
                optimizer = optimizer if steps == 1 else kz.training.GradientAccumulation(optimizer, steps)
                model.compile(optimizer, kz.training.SparseCrossentropy())
            with placement.fit_scope():
                if state is not None:
                    state = store.restore(model)
                history = kz.training.fit(
                    model, data, batch_fn, plan, epochs=last, resume=state, steps_per_execution=2
                ).history
                if last != epochs[-1]:
                    state = {"step": last * plan.steps, "epoch": last, "position": 0}
                    store.save(model, state)
    finally:
        keras.config.set_dtype_policy(policy)
    return history, model


@functools.cache
def alone(kind, dtype="float32", steps=1):
    """The same on one device of this process."""
    return train_cells(kind, distribution.Placement("single"), dtype, steps)


def predicted(kind, model):
    """Predictions for five examples by a copy of a model on one device."""
    with distribution.one_device():
        copy = MODELS[kind]()
        if not copy.built:
            copy.build_from_inputs()
        for variable, trained in zip(copy.variables, model.variables, strict=True):
            variable.assign(processes.to_host(trained.value))
        if kind == "dense":
            return np.argmax(copy.predict_on_batch(np.stack(corpus(kind).features["x"][:5])), axis=-1)
        source, _ = corpus(kind).batch(range(5), {"source": 7})
        return copy.generate(source["source"], max_length=9).tokens[:, 0]


def row_of_table(kind, name):
    """Runs the five cells of a model on a placement; returns what each of them does."""
    found = dict.fromkeys(TABLE, WORKS)
    placement = distribution.choose("auto" if name == "two processes" else ROW_PLACEMENT[name], ROWS_OF[name])
    assert placement.name == ROW_PLACEMENT[name], placement
    history, model = train_cells(kind, placement, epochs=(1, 2))  # compiled, and resumed in between
    same({"loss": history["loss"]}, {"loss": alone(kind)[0]["loss"][1:]})
    if not JAX:
        from kerazoo.training import _block_tensorflow as block

        program = block.BlockProgram(model, "train", None, None)
        found["XLA"] = WORKS if program.jit_compile else FALLS_BACK
    np.testing.assert_array_equal(predicted(kind, model), predicted(kind, alone(kind)[1]))
    mixed, _ = train_cells(kind, placement, "mixed_bfloat16")
    same(mixed, alone(kind, "mixed_bfloat16")[0], 0.02)
    try:
        if placement.name == "mirrored":
            distribution.choose("mirrored", gradient_accumulation_steps=2)
        accumulated, _ = train_cells(kind, placement, steps=2)
        same(accumulated, alone(kind, steps=2)[0])
    except ValueError as error:
        assert "gradient_accumulation_steps" in str(error)
        found["accumulation"] = REFUSES
    return found


ROWS_OF = {
    "one device": "",
    "mirrored": "data:4",
    "data parallel": "data:4",
    "model parallel": "data:2,model:2",
    "two processes": "",
}
ROW_PLACEMENT = {
    "one device": "single",
    "mirrored": "mirrored",
    "data parallel": "data_parallel",
    "model parallel": "model_parallel",
    "two processes": "data_parallel",
}


CHECKS = {
    "dense": lambda: check_equal("dense", "data_parallel" if JAX else "mirrored"),
    "lstm": lambda: check_equal("lstm", "data_parallel" if JAX else "mirrored"),
    "transformer": lambda: check_equal("transformer", "data_parallel" if JAX else "mirrored"),
    "two": lambda: check_equal("transformer", "auto", "data:2"),
    "model": check_state_is_divided,
    "model_four": lambda: check_equal("transformer", "auto", "model:4"),
    "model_lstm": lambda: check_equal("lstm", "model_parallel"),
    "restore": check_restored_elsewhere,
    "arrays": lambda: check_fed_otherwise(True),
    "stream": lambda: check_fed_otherwise(False),
}

if __name__ == "__main__":
    if PROCESS:
        processes.connect(f"localhost:{PROCESS['port']}", 2, PROCESS["process"])
    for check in sys.argv[1:]:
        if check.startswith("table/"):
            print(json.dumps([check, row_of_table(*check.split("/")[1:])]), flush=True)
        elif not check.startswith("--"):
            CHECKS[check]()
            print(check, flush=True)
    processes.wait()
