"""Models of Hugging Face give the same outputs here, and ours give the same there.

The folders in `hugging_face` were written by record_models.py.
"""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo import _checks
from kerazoo.transfer import load_hugging_face, save_hugging_face

RECORDED = pathlib.Path(__file__).parent / "hugging_face"
NAMES = ["bart", "bert", "bert_classifier", "bert_masked", "gpt2", "marian", "marian_separate"]
WRITTEN = ["bart", "bert_classifier", "gpt2"]  # by the quick test
pytest.importorskip("safetensors")


def outputs(model, expected):
    """What is compared: the logits, or the positions of an encoder without a head."""
    inputs = {"source": expected["source"], "targets": expected["targets"]}
    if isinstance(model, kz.models.DualEncoder):
        return np.array(ops.convert_to_numpy(model.encoder(model.source_embedding(inputs["source"]))["sequence"]))
    if isinstance(model, kz.models.LanguageModel):
        inputs = {"targets": inputs["targets"]}
    return np.array(ops.convert_to_numpy(model(inputs)))


def close(found, wanted, expected):
    """Equal but at padding of an encoder, whose outputs nobody reads."""
    valid = expected["source"] != 0 if wanted.shape[1] == expected["source"].shape[1] else ...
    np.testing.assert_allclose(found[valid], wanted[valid], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_of_transformers(name):
    model, expected = load_hugging_face(RECORDED / name), np.load(RECORDED / name / "expected.npz")
    close(outputs(model, expected), expected["outputs"], expected)
    assert expected["outputs"].std() > 0.3


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in WRITTEN else pytest.mark.slow) for name in NAMES]
)
def test_a_model_that_is_written_is_read_again(name, tmp_path):
    model, expected = load_hugging_face(RECORDED / name), np.load(RECORDED / name / "expected.npz")
    save_hugging_face(model, tmp_path / "made")
    again = load_hugging_face(tmp_path / "made")
    np.testing.assert_allclose(outputs(again, expected), outputs(model, expected), atol=1e-6)
    config, recorded = (json.loads((each / "config.json").read_text()) for each in (tmp_path / "made", RECORDED / name))
    same = {"dtype", "model_type", "architectures", "vocab_size"} | {key for key in config if "layer" in key}
    assert all(config[key] == recorded[key] for key in same if key in recorded)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_transformers_reads_what_is_written(name, tmp_path):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    model, expected = load_hugging_face(RECORDED / name), np.load(RECORDED / name / "expected.npz")
    for weight in model.trainable_variables:
        weight.assign(weight + 0.05 * np.random.default_rng(3).normal(size=weight.shape))
    save_hugging_face(model, tmp_path / "made")
    check_with_transformers(transformers, torch, tmp_path / "made", outputs(model, expected), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("transformer_lm_tiny", {"vocabulary_size": 29}),
        ("transformer_seq2seq_base", {"source_vocabulary_size": 29, "target_vocabulary_size": 29, "hidden_dim": 24,
                                      "intermediate_dim": 40, "num_encoder_layers": 1, "num_decoder_layers": 2}),
    ],
)  # fmt: skip
def test_transformers_reads_rows_of_the_catalog(name, options, tmp_path):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    expected = np.load(RECORDED / "bart" / "expected.npz")
    model = kz.create(name, **options)
    model.build_from_inputs()
    save_hugging_face(model, tmp_path / "made")
    check_with_transformers(transformers, torch, tmp_path / "made", outputs(model, expected), expected)


def check_with_transformers(transformers, torch, folder, found, expected):
    """The class that the configuration names computes the same."""
    config = json.loads((folder / "config.json").read_text())
    made, report = getattr(transformers, config["architectures"][0]).from_pretrained(folder, output_loading_info=True)
    missing = {name for name in report["missing_keys"] if "pooler" not in name and "embed_positions" not in name}
    assert not missing and not report["unexpected_keys"], report
    source, targets = torch.tensor(expected["source"]), torch.tensor(expected["targets"])
    start = config.get("decoder_start_token_id", config.get("bos_token_id"))
    given = {"input_ids": source, "attention_mask": (source != 0).long()}
    if start is not None:
        shifted = torch.cat([torch.full((len(targets), 1), start), targets[:, :-1]], dim=1)
        given = {**given, "decoder_input_ids": shifted} if "d_model" in config else {"input_ids": shifted}
    with torch.no_grad():
        computed = made.eval()(**given)
    computed = computed.logits if hasattr(computed, "logits") else computed.last_hidden_state
    close(found, computed.numpy(), expected)


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("transformer_lm_tiny", {"positions": "rotary"}, "GPT-2 needs decoder.positions=None and not rotary"),
        ("transformer_lm_tiny", {"tie_output": False}, "GPT-2 needs tie_output=True"),
        ("transformer_lm_tiny", {"num_key_value_heads": 1}, "a key and value head for each head"),
        ("transformer_seq2seq_base", {"norm": "pre"}, "Marian needs encoder.norm='post' and not pre"),
        (
            "transformer_seq2seq_base",
            {"share_embeddings": False, "positions": "learned", "embedding_normalization": True, "max_length": 7},
            "BART needs share_embeddings=True",
        ),
        ("transformer_classifier", {"vocabulary_size": 11, "norm": "post"}, "BERT needs .*embedding.normalization"),
        ("lstm_lm", {}, "GPT-2 needs decoder of Transformer blocks"),
        ("mlp_classifier", {}, "BERT needs encoder of Transformer blocks"),
    ],
)
def test_what_has_no_equal_there_is_refused(name, options, match, tmp_path):
    sizes = {"hidden_dim": 8, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1, "num_layers": 1,
             "vocabulary_size": 11, "source_vocabulary_size": 11, "target_vocabulary_size": 11}  # fmt: skip
    accepted = kz.describe(name).arguments()
    model = kz.create(name, **{**{key: value for key, value in sizes.items() if key in accepted}, **options})
    model.build_from_inputs()
    with pytest.raises(ValueError, match=match):
        save_hugging_face(model, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(_checks.CheckpointError, match="cannot be read as a configuration"):
        load_hugging_face(tmp_path)
    shutil.copytree(RECORDED / "gpt2", tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    for change, match in (
        ({"model_type": "llama"}, "must be of one of BERT, GPT-2, Marian, BART; got 'llama'"),
        ({"n_head": 5}, "describes no model that can be made: .*divisible"),
        ({"n_embd": 24}, r"GPT-2, does not fit TransformerLM: other shapes: "),
        ({"n_layer": 3}, "lacks transformer.h.2"),
    ):
        (tmp_path / "other" / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(_checks.CheckpointError, match=match):
            load_hugging_face(tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    content = (tmp_path / "other" / "model.safetensors").read_bytes()
    (tmp_path / "other" / "model.safetensors").write_bytes(content[:-9])
    with pytest.raises(_checks.CheckpointError, match="model.safetensors: cannot be read as weights"):
        load_hugging_face(tmp_path / "other")


def test_a_plain_model_of_keras_is_refused(tmp_path):
    with pytest.raises(ValueError, match="none of Transformers over tokens"):
        save_hugging_face(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), tmp_path / "made")
