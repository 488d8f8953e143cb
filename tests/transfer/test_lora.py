"""LoRA and its adapters: the function that it computes, what is trained, files, several at once, and refusals."""

import json
import zipfile

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo._checks import CheckpointError
from kerazoo.layers.products import Dense
from kerazoo.models import layer_paths

SIZES = {"num_layers": 2, "hidden_dim": 6, "num_heads": 2, "intermediate_dim": 10, "dropout": 0.0}
ENCODER = {f"encoder.{name}": value for name, value in SIZES.items()}
TOKENS = {"source": np.array([[4, 5, 6, 7, 8], [9, 4, 10, 0, 0]], "int32")}
X = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")


def model_of(seed=1):
    keras.utils.set_random_seed(seed)
    model = kz.create("transformer+classifier", vocabulary_size=11, num_classes=3, **ENCODER)
    model.build_from_inputs()
    return model


def tuned(path, seed, base, **options):
    """An adapter whose factors are random, and the model with it."""
    model = model_of()
    kz.transfer.warm_start(model, base)
    kz.transfer.add_lora(model, **{"rank": 3, **options})
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign(0.3 * rng.normal(size=variable.shape))
    kz.transfer.save_adapter(model, path)
    return model


def logits(model):
    return ops.convert_to_numpy(model(TOKENS))


@pytest.mark.parametrize("cls", [Dense, keras.layers.Dense])
def test_a_dense_layer_adds_the_product_of_its_factors(cls):
    model = keras.Sequential([keras.Input((5,)), cls(7, activation="tanh")])
    layer = model.layers[0]
    assert kz.transfer.add_lora(model, 2, alpha=3.0, layers=["dense"]) == ["dense"]
    before = ops.convert_to_numpy(model(X))
    layer.lora_kernel_b.assign(np.random.default_rng(1).normal(size=(2, 7)))
    kernel, bias, a, b = (ops.convert_to_numpy(each.value) for each in (
        layer._kernel, layer.bias, layer.lora_kernel_a, layer.lora_kernel_b))  # fmt: skip
    np.testing.assert_allclose(before, np.tanh(X @ kernel + bias), rtol=1e-5, atol=1e-6)
    expected = np.tanh(X @ (kernel + 1.5 * a @ b) + bias)
    np.testing.assert_allclose(ops.convert_to_numpy(model(X)), expected, rtol=1e-5, atol=1e-5)
    kz.transfer.merge_lora(model)
    assert [variable.name for variable in model.weights] == ["kernel", "bias"]
    np.testing.assert_allclose(ops.convert_to_numpy(model(X)), expected, rtol=1e-5, atol=1e-5)


def test_the_factors_alone_are_trained_and_what_is_named():
    model = model_of()
    before = logits(model)
    found = kz.transfer.add_lora(model, 2, layers=["encoder.block_1", "*.output"], train=["head.kernel"])
    assert sorted(found) == [
        "encoder.block_0.attention.output", "encoder.block_1.attention.output",
        "encoder.block_1.attention.query_key_value", "encoder.block_1.feed_forward.contract",
        "encoder.block_1.feed_forward.expand",
    ]  # fmt: skip
    trained = [path for path, variable in layer_paths.variables(model).items() if variable.trainable]
    assert sorted(trained) == sorted(
        [*(f"{path}.lora_kernel_{each}" for path in found for each in "ab"), "head.kernel"]
    )
    np.testing.assert_array_equal(logits(model), before)
    frozen = {path: ops.convert_to_numpy(v.value) for path, v in layer_paths.variables(model).items()}
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    kz.training.fit(model, [(TOKENS, np.array([0, 2]))], epochs=2, jit_compile=False)
    for path, variable in layer_paths.variables(model).items():
        same = np.array_equal(ops.convert_to_numpy(variable.value), frozen[path])
        assert same == (path not in trained), path


def test_a_merged_model_is_saved_and_decodes_like_any_other(tmp_path):
    model = tuned(tmp_path / "one", 3, model_of())
    expected = logits(model)
    kz.transfer.merge_lora(model)
    np.testing.assert_allclose(logits(model), expected, atol=1e-5)
    model.save_weights(tmp_path / "merged.weights.h5")
    other = model_of(5)
    other.load_weights(tmp_path / "merged.weights.h5")
    np.testing.assert_allclose(logits(other), expected, atol=1e-5)
    with pytest.raises(ValueError, match="save_adapter: the model must have LoRA"):
        kz.transfer.save_adapter(model, tmp_path / "two")


def test_adapters_are_loaded_onto_their_base_one_and_several(tmp_path):
    base = model_of()
    one, two = (tuned(tmp_path / name, seed, base) for name, seed in (("one", 3), ("two", 4)))
    before = logits(base)
    adapters = kz.transfer.Adapters(base)
    adapters.load("one", tmp_path / "one")
    np.testing.assert_array_equal(logits(base), before)
    adapters.use("one")
    np.testing.assert_allclose(logits(base), logits(one), atol=1e-5)
    adapters.load("two", tmp_path / "two")  # while another one is in use
    np.testing.assert_allclose(logits(base), logits(one), atol=1e-5)
    adapters.use({"one": 0.5, "two": 2.0})
    kernels = [layer_paths.layers(each)["encoder.block_1.feed_forward.expand"] for each in (base, one, two)]
    deltas = [ops.convert_to_numpy(each.kernel - each._kernel) for each in kernels[1:]]
    expected = ops.convert_to_numpy(kernels[1]._kernel.value) + 0.5 * deltas[0] + 2.0 * deltas[1]
    np.testing.assert_allclose(ops.convert_to_numpy(kernels[0].kernel), expected, atol=1e-5)
    adapters.use()
    np.testing.assert_array_equal(logits(base), before)
    assert adapters.names == ["one", "two"]
    with pytest.raises(ValueError, match=r"Unknown adapter 'three'.*All: one, two"):
        adapters.use("three")


def test_weights_that_were_trained_whole_come_back_with_the_adapter(tmp_path):
    base = model_of()
    one = tuned(tmp_path / "one", 3, base, train=["head.kernel", "head.bias"])
    tuned(tmp_path / "two", 4, base, train=["head.bias"])
    before = logits(base)
    adapters = kz.transfer.Adapters(base)
    adapters.load("one", tmp_path / "one")
    adapters.load("two", tmp_path / "two")
    adapters.use("one")
    np.testing.assert_allclose(logits(base), logits(one), atol=1e-5)
    with pytest.raises(ValueError, match="only one of those in use may have head.bias whole"):
        adapters.use({"one": 1.0, "two": 1.0})
    adapters.use()
    np.testing.assert_array_equal(logits(base), before)


def rewrite(path, to, change):
    """Writes an adapter with a changed layout."""
    with zipfile.ZipFile(path) as archive:
        layout = json.loads(archive.read("adapter.json"))
        rest = {name: archive.read(name) for name in archive.namelist() if name != "adapter.json"}
    change(layout)
    with zipfile.ZipFile(to, "w") as archive:
        archive.writestr("adapter.json", json.dumps(layout))
        for name, content in rest.items():
            archive.writestr(name, content)


def test_other_bases_and_damaged_files_are_refused(tmp_path):
    base = model_of()
    tuned(tmp_path / "one", 3, base)
    before = logits(base)
    adapters = kz.transfer.Adapters(base)
    with pytest.raises(CheckpointError, match=r"one: belongs to another base: to weights with SHA-256 .*; the m"):
        kz.transfer.Adapters(model_of(9)).load("one", tmp_path / "one")
    wider = kz.create("transformer+classifier", vocabulary_size=11, num_classes=3,
                      **{**ENCODER, "encoder.intermediate_dim": 9})  # fmt: skip
    wider.build_from_inputs()
    with pytest.raises(CheckpointError, match=r"it has encoder\.block_0\.feed_forward\.expand\.kernel \(6, 10\); the "
                                              r"model has .*\(6, 9\)"):  # fmt: skip
        kz.transfer.Adapters(wider).load("one", tmp_path / "one")
    content = (tmp_path / "one").read_bytes()
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    (tmp_path / "text").write_text("no adapter")
    with zipfile.ZipFile(tmp_path / "packed", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("adapter.json", " " * 100_000)
    rewrite(tmp_path / "one", tmp_path / "shape", lambda layout: layout["arrays"].update(
        {"encoder.block_0.attention.output.lora_kernel_a": [1 << 40, 3]}))  # fmt: skip
    rewrite(tmp_path / "one", tmp_path / "names", lambda layout: layout["scales"].popitem())
    rewrite(tmp_path / "one", tmp_path / "scale", lambda layout: layout["scales"].update(
        {"encoder.block_0.attention.output": "__import__('os')"}))  # fmt: skip
    rewrite(tmp_path / "one", tmp_path / "version", lambda layout: layout.update(version=9))
    for name in ("cut", "text", "packed", "shape", "names", "scale", "version", "missing"):
        with pytest.raises(CheckpointError, match=rf"{name}: cannot be read as an adapter"):
            adapters.load(name, tmp_path / name)
    assert adapters.names == []
    np.testing.assert_array_equal(logits(base), before)


def test_layers_without_kernels_are_refused():
    model = model_of()
    with pytest.raises(ValueError, match=r"`layers` must match dense layers; got source_embedding, and .*block_0"):
        kz.transfer.add_lora(model, 2, layers=["source_embedding"])
    lstm = kz.create("lstm_lm", vocabulary_size=11, units=7, embedding_dim=5)
    lstm.build_from_inputs()
    with pytest.raises(ValueError, match=r"got all in encoders and decoders, and the dense .* are head"):
        kz.transfer.add_lora(lstm, 2)
    with pytest.raises(ValueError, match=r"`rank` must be an integer above 0; got rank=0"):
        kz.transfer.add_lora(model, 0)
    assert model.trainable_variables
