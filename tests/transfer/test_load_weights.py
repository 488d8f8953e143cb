"""Files of weights: what is loaded equals an independent computation, and what does not fit is refused whole."""

import io
import json
import math
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo import _checks
from kerazoo.transfer import load_weights, variables

WIDTH, HEADS, INNER, LAYERS, VOCABULARY, POSITIONS = 10, 2, 14, 2, 23, 11
SIZES = {"num_layers": LAYERS, "hidden_dim": WIDTH, "num_heads": HEADS, "intermediate_dim": INNER}
CONFIG = {
    "model_type": "bert",
    "num_hidden_layers": LAYERS,
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "intermediate_size": INNER,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
TOKENS = np.array([[3, 4, 5, 6, 7], [8, 9, 0, 0, 0]], "int32")


def bert_tensors(layers=LAYERS, seed=0):
    """Random tensors under the names of a BERT of Hugging Face."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return (rng.normal(size=shape) * 0.3).astype("float32")

    def linear(name, outputs, inputs):
        return {f"{name}.weight": draw(outputs, inputs), f"{name}.bias": draw(outputs)}

    def norm(name):
        return {f"{name}.weight": 1 + draw(WIDTH), f"{name}.bias": draw(WIDTH)}

    tensors = {
        "embeddings.word_embeddings.weight": draw(VOCABULARY, WIDTH),
        "embeddings.position_embeddings.weight": draw(POSITIONS + 2, WIDTH),
        "embeddings.token_type_embeddings.weight": draw(2, WIDTH),
        **norm("embeddings.LayerNorm"),
        **linear("pooler.dense", WIDTH, WIDTH),
    }
    for number in range(layers):
        block = f"encoder.layer.{number}"
        for module in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            tensors |= linear(f"{block}.{module}", WIDTH, WIDTH)
        tensors |= linear(f"{block}.intermediate.dense", INNER, WIDTH)
        tensors |= linear(f"{block}.output.dense", WIDTH, INNER)
        tensors |= norm(f"{block}.attention.output.LayerNorm") | norm(f"{block}.output.LayerNorm")
    return tensors


def numpy_bert(tensors, tokens, layers=LAYERS, heads=HEADS):
    """The last hidden states of BERT (Devlin et al., 2019), computed in float64."""
    t = {name: value.astype("float64") for name, value in tensors.items()}
    erf = np.vectorize(math.erf)

    def linear(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12) * t[f"{name}.weight"] + t[f"{name}.bias"]

    def split(x):
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    x = t["embeddings.word_embeddings.weight"][tokens]
    x = x + t["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    x = norm(x + t["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for number in range(layers):
        block = f"encoder.layer.{number}"
        query, key, value = (split(linear(x, f"{block}.attention.self.{n}")) for n in ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(x.shape[-1] / heads)
        weights = np.exp(np.where((tokens == 0)[:, None, None], -np.inf, scores))
        attended = (weights / weights.sum(-1, keepdims=True)) @ value
        attended = attended.transpose(0, 2, 1, 3).reshape(x.shape)
        x = norm(x + linear(attended, f"{block}.attention.output.dense"), f"{block}.attention.output.LayerNorm")
        inner = linear(x, f"{block}.intermediate.dense")
        inner = inner / 2 * (1 + erf(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"{block}.output.dense"), f"{block}.output.LayerNorm")
    return x


def encoder(name="minilm_l6", **options):
    """A small encoder with the options of BERT."""
    keras.utils.set_random_seed(1)
    sizes = {f"encoder.{size}": value for size, value in SIZES.items()}
    model = kz.create(name, **{"vocabulary_size": VOCABULARY, "max_length": POSITIONS, **sizes, **options})
    model.build_from_inputs()
    return model


@pytest.fixture(scope="module")
def same():
    """An encoder for files that are refused, which leave it as it was."""
    return encoder()


@pytest.fixture(scope="module")
def pair():
    """Two encoders that get all of their weights from files."""
    return encoder(), encoder()


def bert(name, **options):
    """A composed model whose encoder has the options of BERT."""
    chosen = {
        f"encoder.{each}": value for each, value in (("activation", "gelu"), ("norm", "post"), ("epsilon", 1e-12))
    }
    embedding = {"positions": "learned", "scale_embeddings": False, "embedding_normalization": True}
    return encoder(name, **chosen, **embedding, **options)


def values(model):
    return [np.array(ops.convert_to_numpy(variable.value)) for variable in model.variables]


def write(path, tensors, config=None):
    """Writes an `.npz` file, which needs no package, and a `config.json` beside it."""
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **tensors)
    if config is not None:
        (path.parent / "config.json").write_text(json.dumps(config))
    return path


def refused(model, path, match):
    """The file is refused, and the model is as it was."""
    before = values(model)
    with pytest.raises(_checks.CheckpointError, match=match):
        load_weights(model, path)
    assert all(np.array_equal(one, two) for one, two in zip(before, values(model)))


def test_a_sentence_encoder_of_bert_equals_the_formulas(tmp_path):
    tensors, model = bert_tensors(), encoder()
    report = load_weights(model, write(tmp_path / "bert.npz", tensors, CONFIG))
    hidden = numpy_bert(tensors, TOKENS)
    found = np.array(model.encoder(model.source_embedding(TOKENS), padding_mask=TOKENS != 0)["sequence"])
    np.testing.assert_allclose(found[0], hidden[0], atol=1e-5)
    np.testing.assert_allclose(found[1, :2], hidden[1, :2], atol=1e-5)
    means = np.stack([hidden[0].mean(0), hidden[1, :2].mean(0)])
    vectors = np.array(model.embed(TOKENS))
    np.testing.assert_allclose(vectors, means / np.linalg.norm(means, axis=-1, keepdims=True), atol=1e-5)
    assert (report.architecture, report.checked, report.kept) == ("BERT", True, {})
    assert sum(report.loaded.values()) == model.count_params()
    assert report.unused == ("pooler.dense.weight", "pooler.dense.bias")
    assert "BERT" in str(report) and f"{model.count_params():,} weights" in str(report)


def test_safetensors_give_what_npz_gives(tmp_path, pair):
    numpy = pytest.importorskip("safetensors.numpy")
    tensors = {f"bert.{name}": value for name, value in bert_tensors().items()}
    numpy.save_file(tensors, tmp_path / "model.safetensors")
    one, two = pair
    report = load_weights(one, tmp_path / "model.safetensors")
    load_weights(two, write(tmp_path / "bert.npz", bert_tensors()))
    assert all(np.array_equal(a, b) for a, b in zip(values(one), values(two)))
    assert not report.checked and "config.json" in str(report)


def test_an_index_of_several_files_gives_what_one_gives(tmp_path, pair, same):
    numpy = pytest.importorskip("safetensors.numpy")
    tensors, (one, two) = bert_tensors(), pair
    names = {name: f"model-{number % 2 + 1}-of-2.safetensors" for number, name in enumerate(tensors)}
    for file in set(names.values()):
        part = {name: value for name, value in tensors.items() if names[name] == file}
        numpy.save_file(part, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    load_weights(one, index)
    load_weights(two, write(tmp_path / "bert.npz", tensors))
    assert all(np.array_equal(a, b) for a, b in zip(values(one), values(two)))
    first = next(iter(names))
    for change, match in (
        ({first: "../model.safetensors"}, "'../model.safetensors' is not the name of a safetensors file"),
        ({first: "missing.safetensors"}, "no such file"),
        ({first: names[list(names)[1]]}, f"the index and the files differ in {first}"),
        ({"other": names[first]}, "the index and the files differ in other"),
        ({first: 3}, "must have the name of a file for each tensor"),
    ):
        index.write_text(json.dumps({"weight_map": {**names, **change}}))
        refused(same, index, match)
    index.write_text("{")
    refused(same, index, "cannot be read as weights")


def test_half_precision_is_widened(tmp_path, pair):
    half = {name: value.astype("float16") for name, value in bert_tensors().items()}
    one, two = pair
    load_weights(one, write(tmp_path / "half.npz", half))
    load_weights(two, write(tmp_path / "wide.npz", {name: value.astype("float32") for name, value in half.items()}))
    assert all(np.array_equal(a, b) for a, b in zip(values(one), values(two)))


def test_parts_that_a_file_lacks_stay_as_they_were(tmp_path):
    path = write(tmp_path / "bert.npz", bert_tensors())
    classifier = bert("transformer+classifier", num_classes=5)
    head = ops.convert_to_numpy(classifier.head.kernel.value)
    report = load_weights(classifier, path)
    assert list(report.kept) == ["head.kernel", "head.bias"] and np.array_equal(head, classifier.head.kernel)
    decoder = {f"decoder.{size}": value for size, value in {**SIZES, "num_layers": 1}.items()}
    seq2seq = bert("transformer+transformer", source_vocabulary_size=VOCABULARY, vocabulary_size=13, **decoder)
    report = load_weights(seq2seq, path)
    assert {name.partition(".")[0] for name in report.kept} == {"decoder", "target_embedding", "head"}
    sequences = [model.encode({"source": TOKENS[:1]}, training=False)["sequence"] for model in (classifier, seq2seq)]
    np.testing.assert_allclose(*map(np.array, sequences), atol=1e-6)
    assert "as it was" in str(report)


def test_weights_by_the_names_of_variables(tmp_path):
    options = {"vocabulary_size": 11, "num_layers": 1, "hidden_dim": 8, "num_heads": 2, "max_length": 7}
    one, two = (kz.create("transformer_lm_tiny", **options) for _ in range(2))
    for model in (one, two):
        model.build_from_inputs()
    named = {name: np.array(ops.convert_to_numpy(v.value)) for name, v in variables(one).items()}
    assert "decoder.block_0.attention.query_key_value.kernel" in named
    report = load_weights(two, write(tmp_path / "lm.npz", named))
    assert report.architecture == "kerazoo" and report.loaded.keys() == named.keys()
    tokens = {"targets": np.array([[3, 4, 5]])}
    np.testing.assert_array_equal(one(tokens), two(tokens))
    del named["decoder.final_norm.gamma"]
    refused(two, write(tmp_path / "lm.npz", named), r"lacks decoder.final_norm.gamma \(8,\)")


def test_weights_of_keras(tmp_path, pair):
    (one, two), path = pair, tmp_path / "model.weights.h5"
    for variable in one.trainable_variables:
        variable.assign(np.random.default_rng(2).normal(size=variable.shape))
    one.compile("sgd", "mse")  # whose state the file has as well
    one.optimizer.build(one.trainable_variables)
    one.save_weights(path)
    report = load_weights(two, path)
    assert report.architecture == "Keras" and sum(report.loaded.values()) == two.count_params()
    np.testing.assert_array_equal(one.embed(TOKENS), two.embed(TOKENS))
    refused(encoder(**{"encoder.num_layers": 1}), path, "has no place for .*block.*")
    other = encoder(**{"encoder.intermediate_dim": 13})
    refused(other, path, r"other shapes: .* is \(10, 14\), the model needs \(10, 13")
    with h5py.File(path, "r+") as file:
        name = next(name for name, each in walk(file) if each.shape == (WIDTH,))
        file[name][0] = np.nan
    refused(two, path, "not finite")


def walk(file):
    found = []
    file.visititems(lambda name, each: found.append((name, each)) if isinstance(each, h5py.Dataset) else None)
    return found


@pytest.mark.parametrize(
    ("change", "match"),
    [
        pytest.param(
            {"encoder.layer.1.output.dense.bias": None}, r"lacks encoder.layer.1.output.dense.bias", id="missing"
        ),
        pytest.param({"encoder.layer.9.output.dense.bias": (WIDTH,)}, "no place for encoder.layer.9", id="surplus"),
        pytest.param(
            {"encoder.layer.1.intermediate.dense.weight": (WIDTH, INNER)},
            r"intermediate.dense.weight is \(10, 14\), encoder.block_1.feed_forward.expand.kernel needs \(14, 10\)",
            id="turned",
        ),
        pytest.param({"embeddings.position_embeddings.weight": (7, WIDTH)}, "positions.table needs", id="short"),
        pytest.param({"embeddings.token_type_embeddings.weight": (1, WIDTH)}, "RoBERTa is not read", id="RoBERTa"),
    ],
)
def test_other_tensors_are_refused_by_name_and_shape(tmp_path, same, change, match):
    tensors = bert_tensors()
    for name, shape in change.items():
        tensors.pop(name, None)
        if shape:
            tensors[name] = np.ones(shape, "float32")
    refused(same, write(tmp_path / "bert.npz", tensors), match)


def test_another_architecture_is_refused(tmp_path, same):
    path = write(tmp_path / "bert.npz", bert_tensors())
    language_model = kz.create("transformer_lm_tiny", vocabulary_size=11, num_layers=1, hidden_dim=8, num_heads=2)
    language_model.build_from_inputs()
    refused(language_model, path, "encoder of a BERT model; TransformerLM has no encoder")
    refused(encoder(**{"encoder.norm": "pre"}), path, "has encoder.norm='post' and not pre")
    refused(encoder(scale_embeddings=True), path, "embedding.scale=False and not True")
    refused(same, write(tmp_path / "other.npz", {"a": np.ones(3), "b": np.ones(2)}), "no architecture that is read")
    with pytest.raises(ValueError, match="must be built"):
        load_weights(kz.create("minilm_l6"), path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"num_attention_heads": 5}, "has encoder.num_heads=5 and not 2"),
        ({"hidden_act": "relu"}, "has encoder.activation='relu' and not gelu"),
        ({"model_type": "roberta"}, "that of the architecture 'roberta'"),
    ],
)
def test_what_no_tensor_tells_is_compared_with_the_configuration(tmp_path, same, change, match):
    refused(same, write(tmp_path / "model" / "bert.npz", bert_tensors(), {**CONFIG, **change}), match)


def test_damaged_files_are_refused(tmp_path, same):
    path, model = write(tmp_path / "bert.npz", bert_tensors()), same
    content = path.read_bytes()
    for name, damaged in (
        ("short.npz", content[: len(content) // 2]),
        ("empty.npz", b""),
        ("flipped.npz", content[:3000] + bytes([content[3000] ^ 255]) + content[3001:]),
        ("text.safetensors", b"no weights at all"),
        ("header.safetensors", (10**15).to_bytes(8, "little") + b'{"a":'),
        ("pickle.bin", b"\x80\x02cposix\nsystem\n"),
    ):
        (tmp_path / name).write_bytes(damaged)
        refused(model, tmp_path / name, f"{name}: ")
    refused(model, tmp_path / "missing.npz", "no such file")
    refused(model, tmp_path, "no plain file")


def test_hostile_files_are_refused(tmp_path, same):
    model, name = same, "embeddings.word_embeddings.weight"
    np.savez(tmp_path / "objects.npz", **{**bert_tensors(), name: np.array([{"a": 1}], object)})
    refused(model, tmp_path / "objects.npz", "holds object, and not numbers")
    np.savez(tmp_path / "text.npz", **{**bert_tensors(), name: np.array(["a"])})
    refused(model, tmp_path / "text.npz", "and not numbers")
    whole = {key: value for key, value in bert_tensors().items()}
    whole[name] = np.ones(whole[name].shape, "int32")
    refused(model, write(tmp_path / "integers.npz", whole), "is of the type float")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**7, 10**7)})
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr(f"{name}.npy", header.getvalue())
    refused(model, tmp_path / "huge.npz", "fewer values than its shape")
    same.save_weights(tmp_path / "model.weights.h5")
    for kind, link in (("link", h5py.ExternalLink("other.h5", "/a")), ("soft", h5py.SoftLink("/vars"))):
        (tmp_path / f"{kind}.h5").write_bytes((tmp_path / "model.weights.h5").read_bytes())
        with h5py.File(tmp_path / f"{kind}.h5", "r+") as file:
            file["added"] = link
        refused(model, tmp_path / f"{kind}.h5", "added is a link")
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file.create_dataset("a", (3,), "float32", external=[(str(tmp_path / "text.npz"), 0, 12)])
    refused(model, tmp_path / "outside.h5", "values in another file")
    with h5py.File(tmp_path / "cycle.h5", "w") as file:
        file.create_group("a")["b"] = file["/"]
    refused(model, tmp_path / "cycle.h5", "contains itself")


def test_weights_of_16_bits_in_safetensors(tmp_path, pair):
    numpy = pytest.importorskip("safetensors.numpy")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    tensors = {name: value.astype(ml_dtypes.bfloat16) for name, value in bert_tensors().items()}
    numpy.save_file(tensors, tmp_path / "model.safetensors")
    wide = write(tmp_path / "bert.npz", {name: value.astype("float32") for name, value in tensors.items()})
    one, two = pair
    load_weights(one, tmp_path / "model.safetensors")
    load_weights(two, wide)
    assert all(np.array_equal(a, b) for a, b in zip(values(one), values(two)))
