import keras
import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

import kerazoo as kz
from kerazoo import layers

END, TOKENS = 3, np.array([[7, 8, 3, 9, 3, 4, 4, 8, 7, 6, 3, 0, 0], [3, 5, 6, 3, 3, 8, 9, 3, 7, 3, 7, 8, 9]], "int32")


def numpy(x):
    return ops.convert_to_numpy(x)


def sentences(row, ends, limit):
    """Returns the lists of a row's tokens, one for each sentence; the last one has all that are left."""
    found = [[]]
    for token in row:
        if token == 0:
            break
        found[-1].append(token)
        if token in ends and len(found) < limit:
            found.append([])
    return [each for each in found if each]


@pytest.mark.parametrize(
    "options", [{}, {"scale": True, "positions": "sinusoidal"}, {"max_words": 2}, {"min_words": 5}]
)
def test_vectors_are_sums_over_the_words_of_a_sentence(options):
    layer = layers.SentenceEmbedding(11, 6, sentence_ends=[END, 5], **{"min_words": 2, **options})
    layer.build((None, None))
    positions = np.random.default_rng(0).normal(size=layer.word_positions.shape).astype("float32")
    layer.word_positions.assign(positions)
    got, valid, table = numpy(layer(TOKENS)), numpy(layer.padding_mask(TOKENS)), numpy(layer.table.embeddings)
    count = TOKENS.shape[1] // layer.min_words + 1
    expected = np.zeros((2, count, 6), "float32")
    for row, tokens in enumerate(TOKENS):
        found = sentences(tokens, (END, 5), (tokens > 0).sum() // layer.min_words + 1)
        assert valid[row].tolist() == [number < len(found) for number in range(count)]
        for number, words in enumerate(found):
            for position, word in enumerate(words):
                expected[row, number] += table[word] * positions[min(position, layer.max_words - 1)]
    if layer.scale:
        expected = numpy(layers.SinusoidalPositions()(expected * np.sqrt(6).astype("float32")))
    np.testing.assert_allclose(got, expected, atol=1e-5)


@not_on_jax
def test_padding_and_empty_texts():
    layer = layers.SentenceEmbedding(11, 6, sentence_ends=[END])
    longer = np.pad(TOKENS, ((0, 0), (0, 4)))
    np.testing.assert_allclose(numpy(layer(longer))[:, :5], numpy(layer(TOKENS)), atol=1e-6)
    empty = np.zeros((2, 0), "int32")
    assert layer(empty).shape == (2, 1, 6) and not numpy(layer.padding_mask(empty)).any()


def test_wrong_arguments_are_named():
    for ends, reason in (
        ([], "must have an id"),
        ([11], "from 0 to 10.*got 11"),
        ([0], "not that of padding, 0; got 0"),
    ):
        with pytest.raises(
            ValueError, match=f"SentenceEmbedding: `sentence_ends` {reason if ends == [] else 'must.*'}"
        ):
            layers.SentenceEmbedding(11, 6, sentence_ends=ends)
    with pytest.raises(TypeError, match="SentenceEmbedding: `inputs` must be token ids"):
        layers.SentenceEmbedding(11, 6, sentence_ends=[END])(TOKENS.astype("float32"))


@pytest.fixture(scope="module")
def model():
    sizes = {"hidden_dim": 8, "num_heads": 2, "intermediate_dim": 11, "dropout": 0.0, "positions": "rotary"}
    return kz.create(
        "transformer_seq2seq_tiny",
        source_vocabulary_size=11,
        target_vocabulary_size=13,
        num_encoder_layers=3,
        num_decoder_layers=1,
        share_encoder_layers=True,
        sentences=True,
        sentence_ends=[END],
        **sizes,
    )


@not_on_jax
def test_model_of_sentences_reads_one_vector_for_each(model):
    encoded = model.encode({"source": TOKENS})
    assert encoded["sequence"].shape == (2, 5, 8)
    assert numpy(encoded["mask"]).tolist() == [[True, True, True, False, False], [True] * 5]
    assert len(model.encoder.blocks) == 1 and model.encoder.num_layers == 3
    assert kz.inspect.check_shift(model, {"source": TOKENS, "targets": np.array([[5, 6, 2], [7, 2, 0]])})


def test_shared_layers_equal_a_stack_of_equal_blocks(model):
    options = {"hidden_dim": 8, "num_heads": 2, "intermediate_dim": 11, "dropout": 0.0, "positions": "rotary"}
    shared = layers.TransformerEncoder(3, share_layers=True, **options)
    plain = layers.TransformerEncoder(3, **options)
    x = np.random.default_rng(1).normal(size=(2, 5, 8)).astype("float32")
    shared(x), plain(x)
    for block in plain.blocks:
        block.set_weights(shared.blocks[0].get_weights())
    plain.final_norm.set_weights(shared.final_norm.get_weights())
    np.testing.assert_allclose(numpy(plain(x)["sequence"]), numpy(shared(x)["sequence"]), atol=1e-5)
    with pytest.raises(ValueError, match="`activation`"):  # a block of its own would be needed for each
        layers.TransformerEncoder(3, share_layers=True, activation=["relu", "gelu", "relu"], **options)


@not_on_jax
def test_model_of_sentences_is_saved_and_refuses_what_needs_each_token(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    inputs = {"source": TOKENS, "targets": np.array([[5, 6, 2], [7, 2, 0]])}
    np.testing.assert_allclose(numpy(again(inputs)), numpy(model(inputs)), atol=1e-6)
    with pytest.raises(ValueError, match="packing is for encoders that read each token"):
        kz.models.check_packing(model)
    with pytest.raises(ValueError, match="`copy` needs an encoder that reads each token"):
        kz.models.TransformerSeq2Seq(11, 11, sentences=True, sentence_ends=[END], copy=True)
    with pytest.raises(ValueError, match="`sentence_ends` must have an id"):
        kz.models.TransformerSeq2Seq(11, 11, sentences=True)
