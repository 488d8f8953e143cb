"""Weights of one model for another: the paths of layers, what is kept, rows by number, and refusals."""

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo._checks import CheckpointError
from kerazoo.layers import LSTMDecoder, TokenEmbedding
from kerazoo.models import layer_paths

SIZES = {"num_layers": 2, "hidden_dim": 6, "num_heads": 2, "intermediate_dim": 10, "dropout": 0.0}
ENCODER = {f"encoder.{name}": value for name, value in SIZES.items()}
DECODER = {f"decoder.{name}": value for name, value in SIZES.items()}
TOKENS = np.array([[4, 5, 6, 7, 8], [9, 4, 10, 0, 0]], "int32")


def built(name, **options):
    """A model whose weights are all distinct and not zero."""
    model = kz.create(name, **options)
    model.build_from_inputs()
    rng = np.random.default_rng(len(model.variables))
    for variable in layer_paths.variables(model).values():
        variable.assign(rng.normal(size=variable.shape) * 0.3)
    return model


def values(model):
    return {path: np.array(ops.convert_to_numpy(v.value)) for path, v in layer_paths.variables(model).items()}


def test_paths_begin_with_attributes_and_do_not_depend_on_what_was_made_before():
    model = built("transformer+dual_encoder", vocabulary_size=11, **ENCODER)
    paths = list(kz.transfer.layers(model))
    assert paths[0] == "encoder" and "encoder.block_1.attention.query_key_value" in paths
    assert {"source_embedding.table", "encoder.final_norm", "dropout"} <= set(paths)
    both = built("transformer,bag+dual_encoder", vocabulary_size=(11, 13), **ENCODER)
    assert {"encoder", "encoder_2", "source_embedding", "source_embedding_2"} <= set(kz.transfer.layers(both))
    made = [keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(2) for _ in range(2))]) for _ in range(2)]
    found = [list(kz.transfer.variables(each)) for each in made]
    assert found[0] == found[1] == ["dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias"]


def test_a_pattern_finds_layers_by_path_and_by_name():
    model = built("transformer+dual_encoder", vocabulary_size=11, **ENCODER)
    find = lambda *patterns: kz.transfer.find_layers("f", "freeze", model, patterns)  # noqa: E731
    assert find("encoder.block_1") == ["encoder.block_1"] == find("encoder/block_1") == find("block_1")
    assert find("*.feed_forward.expand", "expand") == [f"encoder.block_{n}.feed_forward.expand" for n in range(2)]
    with pytest.raises(ValueError, match=r"f: `freeze` must match a layer; got 'encoder.blok_1'.*encoder.block_1"):
        find("encoder", "encoder.blok_1")


@pytest.mark.parametrize("scale", [False, True])
def test_the_stack_of_a_language_model_is_the_same_function_as_an_encoder(scale):
    embedding = TokenEmbedding(11, 6, scale=scale, positions="learned", max_length=7)
    decoder = kz.layers.TransformerDecoder(**SIZES, cross_attention=False)
    source = kz.models.LanguageModel(decoder, embedding, tie_output=not scale)
    source.build_from_inputs()
    options = {**ENCODER, "encoder.causal": True, "positions": "learned", "max_length": 7}
    model = built("transformer+classifier", vocabulary_size=11, num_classes=3, **options)
    report = kz.transfer.warm_start(model, source)
    assert report.origins["encoder.block_1.feed_forward.expand.kernel"] == "kept"
    assert report.origins["source_embedding.positions.table"] == "kept"
    assert report.origins["head.kernel"] == "new" and not report.differences
    assert [path for path in report.unused if not path.startswith("head")] == []
    read = ops.concatenate([ops.full((2, 1), source.start_id, dtype="int32"), TOKENS[:, :-1]], axis=1)
    hidden = source._hidden({"targets": TOKENS}, None, False)
    encoded = model.encode({"source": read})
    np.testing.assert_allclose(hidden[0], encoded["sequence"][0], atol=1e-5)


def test_an_lstm_language_model_becomes_an_encoder():
    source = built("lstm_lm", vocabulary_size=11, embedding_dim=5, units=7, num_layers=2)
    options = {"encoder.units": 7, "encoder.num_layers": 2, "encoder.bidirectional": False, "embedding_dim": 5}
    model = built("lstm+classifier", vocabulary_size=11, num_classes=3, **options)
    report = kz.transfer.warm_start(model, source)
    assert {origin for path, origin in report.origins.items() if not path.startswith("head")} == {"kept"}
    read = ops.concatenate([ops.full((2, 1), 1, dtype="int32"), TOKENS[:, :-1]], axis=1)
    hidden = source._hidden({"targets": TOKENS}, None, False)
    np.testing.assert_allclose(hidden[0], model.encode({"source": read})["sequence"][0], atol=1e-5)
    assert isinstance(source.decoder, LSTMDecoder)


def test_an_encoder_goes_into_every_model_that_has_one():
    source = built("transformer+transformer", source_vocabulary_size=11, vocabulary_size=13, **ENCODER, **DECODER)
    encoded = source.encode({"source": TOKENS})["sequence"]
    for name, options in [
        ("transformer+classifier", {"vocabulary_size": 11, "num_classes": 3}),
        ("transformer+dual_encoder", {"vocabulary_size": 11}),
        ("transformer+lstm", {"source_vocabulary_size": 11, "vocabulary_size": 5}),
    ]:
        model = built(name, **options, **ENCODER)
        report = kz.transfer.warm_start(model, source)
        assert {origin for path, origin in report.origins.items() if path.startswith("encoder")} == {"kept"}
        assert {path.partition(".")[0] for path in report.unused} >= {"decoder"}
        np.testing.assert_array_equal(model.encode({"source": TOKENS})["sequence"], encoded)
    deeper = built("transformer+classifier", vocabulary_size=11, num_classes=3, **{**ENCODER, "encoder.num_layers": 3})
    report = kz.transfer.warm_start(deeper, source)
    assert report.origins["encoder.block_2.attention_norm.gamma"] == "new"


def test_a_language_model_gives_its_stack_to_a_decoder_that_attends_to_a_source():
    source = kz.models.LanguageModel(
        kz.layers.TransformerDecoder(**SIZES, cross_attention=False), TokenEmbedding(13, 6, scale=True)
    )
    source.build_from_inputs()
    model = built("lstm+transformer", source_vocabulary_size=5, vocabulary_size=13, **DECODER, positions=None)
    report = kz.transfer.warm_start(model, source)
    assert report.origins["decoder.block_0.attention.query_key_value.kernel"] == "kept"
    assert report.origins["decoder.block_0.cross_attention.query.kernel"] == "new"
    assert report.origins["encoder.forward_0.lstm.lstm_cell.kernel"] == "new"
    assert report.origins["head.kernel"] == "kept"


def test_rows_are_taken_by_number_and_others_stay_as_they_are():
    source = built("lstm_seq2seq", source_vocabulary_size=11, target_vocabulary_size=13, embedding_dim=5, units=7)
    model = built("lstm_seq2seq", source_vocabulary_size=4, target_vocabulary_size=6, embedding_dim=5, units=7)
    before, other = values(model), values(source)
    rows = {"source_embedding": [0, -1, 10, 2], "target_embedding": [-1] * 6, "head": [12, -1, -1, 3, 3, 0]}
    report = kz.transfer.warm_start(model, source, rows)
    after = values(model)
    assert report.origins["source_embedding.table.embeddings"] == "3 of 4 kept"
    assert report.origins["target_embedding.table.embeddings"] == "new"
    assert report.origins["head.kernel"] == report.origins["head.bias"] == "4 of 6 kept"
    table, old = "source_embedding.table.embeddings", other["source_embedding.table.embeddings"]
    np.testing.assert_array_equal(after[table], [old[0], before[table][1], old[10], old[2]])
    np.testing.assert_array_equal(after["head.kernel"][:, [0, 3, 4, 5]], other["head.kernel"][:, [12, 3, 3, 0]])
    np.testing.assert_array_equal(after["head.kernel"][:, 1:3], before["head.kernel"][:, 1:3])
    np.testing.assert_array_equal(after["head.bias"][[0, 1, 3]], [other["head.bias"][12], before["head.bias"][1],
                                                                  other["head.bias"][3]])  # fmt: skip
    np.testing.assert_array_equal(after["decoder.lstm_0.lstm.lstm_cell.kernel"],
                                  other["decoder.lstm_0.lstm.lstm_cell.kernel"])  # fmt: skip


@pytest.mark.parametrize("small", ["int8", "low rank"])
def test_weights_that_are_computed_are_taken_as_they_are(small):
    source = built("transformer+classifier", vocabulary_size=47, num_classes=3, **ENCODER)
    if small == "int8":
        kz.compress.quantize(source, "int8")
    else:
        kz.compress.factorize(source, 0.5)
    model = built("transformer+classifier", vocabulary_size=47, num_classes=3, **ENCODER)
    report = kz.transfer.warm_start(model, source)
    assert set(report.origins.values()) == {"kept"} and not report.unused
    np.testing.assert_allclose(model({"source": TOKENS}), source({"source": TOKENS}), atol=1e-5)


def test_other_shapes_are_refused_by_name_and_nothing_is_half_loaded():
    source = built("transformer+classifier", vocabulary_size=11, num_classes=3, **ENCODER)
    model = built("transformer+classifier", vocabulary_size=11, num_classes=3,
                  **{**ENCODER, "encoder.intermediate_dim": 9})  # fmt: skip
    before = values(model)
    with pytest.raises(
        CheckpointError,
        match=r"run: has other shapes than the model\. The model has encoder\.block_0\.feed_forward\.expand\.kernel "
        r"\(6, 9\), and encoder\.block_0\.feed_forward\.expand\.kernel \(6, 10\).*and 3 more",
    ):
        kz.transfer.warm_start(model, source, name="run")
    for path, value in values(model).items():
        np.testing.assert_array_equal(value, before[path])
    smaller = built("transformer+classifier", vocabulary_size=10, num_classes=2, **ENCODER)
    with pytest.raises(CheckpointError, match=r"source_embedding\.table\.embeddings \(10, 6\).*\(11, 6\) in source\."):
        kz.transfer.warm_start(smaller, source)
    with pytest.raises(CheckpointError, match=r"no weight has a path of the model: it has the parts encoder"):
        kz.transfer.warm_start(built("lstm_lm", vocabulary_size=11, units=7), built("mlp_classifier", units=(3,)))


def test_what_shapes_do_not_tell_is_told():
    source = built("transformer+classifier", vocabulary_size=11, num_classes=3, **ENCODER)
    model = built("transformer+classifier", vocabulary_size=11, num_classes=3,
                  **{**ENCODER, "encoder.num_heads": 3, "encoder.activation": "gelu"})  # fmt: skip
    assert kz.transfer.warm_start(model, source).differences == [
        "encoder has activation='gelu', not 'relu'", "encoder has num_heads=3, not 2",
    ]  # fmt: skip


def test_the_table_has_a_row_for_layers_that_agree():
    source = built("transformer+transformer", source_vocabulary_size=11, vocabulary_size=13, **ENCODER, **DECODER)
    model = built("transformer+classifier", vocabulary_size=11, num_classes=3, **{**ENCODER, "encoder.num_layers": 4})
    model.encoder.blocks[0].trainable = False
    report = kz.transfer.warm_start(model, source)
    rows = kz.transfer.weight_table(model, report.origins)
    count = model.encoder.blocks[0].count_params()
    assert rows == [
        ["layer", "parameters", "weights", "trained"],
        ["encoder.block_0", f"{count}", "kept", "no"],
        ["encoder.block_1", f"{count}", "kept", "yes"],
        ["encoder.block_2 to block_3", f"{2 * count}", "new", "yes"],
        ["encoder.final_norm", "12", "kept", "yes"],
        ["source_embedding", "66", "kept", "yes"],
        ["head", "21", "new", "yes"],
        ["all", f"{4 * count + 99:,}", f"{2 * count + 78:,} kept", f"{3 * count + 99:,} trained"],
    ]
