"""Word vectors start the embedding of the side that they were given for."""

import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo.run.pretrained_embeddings import load_vectors


class Given:
    """What `load_vectors` asks a task for."""

    def __init__(self, **vectors):
        words = kz.text.WordTokenizer(["cat", "dog", "emu"])
        self.tokenizers = {"source": words, "target": words}
        self.vectors = {role: str(path) for role, path in vectors.items()}


@pytest.fixture
def files(tmp_path):
    (tmp_path / "en.vec").write_text("cat 1 2 3 4 5 6\ndog 6 5 4 3 2 1\n")
    (tmp_path / "de.vec").write_text("dog 9 9 9 9 9 9\nemu 7 7 7 7 7 7\n")
    return tmp_path / "en.vec", tmp_path / "de.vec"


def test_each_side_gets_its_own_vectors(files, capsys):
    model = kz.models.LSTMSeq2Seq(7, 7, embedding_dim=6, units=5)
    model.build_from_inputs()
    load_vectors(model, Given(source=files[0], target=files[1]))
    source, target = (
        ops.convert_to_numpy(embedding(np.array([[4, 5, 6]])))[0]
        for embedding in (model.source_embedding, model.target_embedding)
    )
    assert source[0].tolist() == [1, 2, 3, 4, 5, 6] and target[2].tolist() == [7] * 6
    assert "en.vec: vectors of 66.7% of the source vocabulary." in capsys.readouterr().err


def test_a_shared_table_takes_both_files(files):
    model = kz.models.TransformerSeq2Seq(
        7,
        7,
        num_encoder_layers=1,
        num_decoder_layers=1,
        hidden_dim=6,
        num_heads=3,
        intermediate_dim=5,
        dropout=0.0,
        positions="rotary",
    )
    model.build_from_inputs()
    load_vectors(model, Given(source=files[0], target=files[1]))
    table = ops.convert_to_numpy(model.source_embedding(np.array([[4, 5, 6]])))[0]
    expected = [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], [7] * 6]
    np.testing.assert_allclose(table, expected, rtol=1e-5)


def test_what_does_not_fit_is_refused(files):
    model = kz.models.LSTMSeq2Seq(7, 7, embedding_dim=5, units=5)
    model.build_from_inputs()
    said = "the size of the vectors; got 6 numbers a word in .*en.vec, embedding_dim=5. Try embedding_dim=6"
    with pytest.raises(ValueError, match=said):
        load_vectors(model, Given(source=files[0]))
    dense = kz.models.MLPClassifier(num_classes=3)
    with pytest.raises(ValueError, match="`source_vectors`: MLPClassifier has no embedding of source tokens; got"):
        load_vectors(dense, Given(source=files[0]))
