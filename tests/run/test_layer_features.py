"""Outputs of layers by path: equal to what the layers give, for any kind of model, pooling and number of inputs."""

import json

import numpy as np
import pytest
from commands import in_process, refused

import kerazoo as kz
from kerazoo import _checks
from kerazoo.run import layer_features

BLOCK = {"num_layers": 2, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 11}


def predictor(kind="seq2seq", model="transformer+transformer", task="reverse", **options):
    made = kz.tasks.create(task, kind, **options)
    parts = ("encoder", "decoder") if model.endswith("+transformer") else ("encoder",) if "+" in model else ()
    sizes = {f"{part}.{name}": value for part in parts for name, value in BLOCK.items()}
    sizes |= {} if parts else {**BLOCK, "max_length": 31}
    return kz.run.Predictor(kz.run.model_building.build_model(model, made, sizes), made, batch_size=3)


@pytest.fixture(scope="module")
def reversing():
    return predictor(length=7, examples=31)


WORDS = ["ab", "abcde", "c", "dcb", "ea", "abcdeab", "b"]


def test_the_output_of_a_block_is_that_of_the_block(reversing):
    model, task = reversing.model, reversing.task
    found = reversing.features(WORDS, ["encoder.block_0", "encoder"])
    assert list(found) == ["encoder.block_0", "encoder"]
    for row, word in enumerate(WORDS):  # alone, without padding
        inputs = task.encode([word])["source"]
        x = model.source_embedding(inputs)
        first = np.array(model.encoder.blocks[0](x))
        np.testing.assert_allclose(found["encoder.block_0"][row], first.mean(axis=(0, 1)), atol=1e-5)
        last = np.array(model.encode(inputs)["sequence"])
        np.testing.assert_allclose(found["encoder"][row], last.mean(axis=(0, 1)), atol=1e-5)
    np.testing.assert_allclose(found["encoder"], reversing.embed(WORDS), atol=1e-5)


def test_poolings(reversing):
    words = WORDS[:4]
    whole = reversing.features(words, "block_1", "none")["encoder.block_1"]
    assert [len(each) for each in whole] == list(map(len, words))
    for pooling, reduce in {"max": lambda x: x.max(0), "last": lambda x: x[-1], "first": lambda x: x[0]}.items():
        found = reversing.features(words, "encoder.block_1", pooling)["encoder.block_1"]
        np.testing.assert_allclose(found, [reduce(each) for each in whole], atol=1e-6)


def test_patterns_choose_layers_of_their_depth_and_calls_leave_no_trace(reversing):
    assert list(layer_features.find(reversing.model, "encoder.block_*")) == ["encoder.block_0", "encoder.block_1"]
    assert "encoder.block_0.feed_forward" in layer_features.find(reversing.model, "encoder.block_0.*")
    reversing.features(WORDS[:2], "encoder.block_*")
    assert "call" not in vars(reversing.model.encoder.blocks[0])
    with pytest.raises(ValueError, match=r"`layer` must match a layer; got 'encoder.blok_1'.*encoder.block_1"):
        reversing.features(WORDS, "encoder.blok_1")
    with pytest.raises(ValueError, match="`pooling` must be one of 'mean'.*got pooling='sum'"):
        reversing.features(WORDS, "encoder", "sum")
    assert reversing.features([], "encoder") == {}


def test_a_decoder_reads_what_it_generates(reversing):
    found = reversing.features(WORDS[:2], "decoder.block_1", "none")["decoder.block_1"]
    rows = reversing.outputs(WORDS[:2])
    assert [len(each) for each in found] == [np.count_nonzero(row) for row in rows]
    inputs = {**reversing.task.encode(WORDS[:1]), "targets": np.array(rows[0])[None]}
    with layer_features.recorded({"x": reversing.model.decoder.blocks[1]}) as calls:
        reversing.model(inputs)
    np.testing.assert_allclose(found[0], np.array(calls["x"][0])[0, : len(found[0])], atol=1e-5)


def test_a_position_of_a_language_model_has_read_the_tokens_up_to_it():
    made = predictor("language_model", "transformer_lm_tiny", "topics", length=31)
    one, two = made.features(["the end", "the bed"], "decoder.block_1", "none")["decoder.block_1"]
    assert len(one) == len(two) == 7
    np.testing.assert_allclose(one[:4], two[:4], atol=1e-5)
    assert (np.abs(one - two).max(axis=1)[4:] > 1e-3).all()
    mean = made.features(["the end"], "decoder.block_1")["decoder.block_1"]
    np.testing.assert_allclose(mean[0], one.mean(axis=0), atol=1e-5)


def test_any_number_of_inputs_goes_into_a_file(reversing, tmp_path):
    words = iter(WORDS * 3)
    shapes = kz.run.write_features(reversing, words, tmp_path / "new" / "f.npz", "encoder.block_*")
    assert shapes == {"encoder.block_0": (21, 8), "encoder.block_1": (21, 8)}
    with np.load(tmp_path / "new" / "f.npz") as saved:
        np.testing.assert_allclose(
            saved["encoder.block_1"], reversing.features(WORDS * 3, "encoder.block_1")["encoder.block_1"], atol=1e-6
        )
    kz.run.write_features(reversing, WORDS, tmp_path / "new" / "f.npz", "encoder", "none")
    with np.load(tmp_path / "new" / "f.npz") as saved:
        assert np.diff(saved["encoder.offsets"]).tolist() == list(map(len, WORDS)) and saved["encoder.values"].ndim == 2
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["f.npz"]
    with pytest.raises(_checks.DataError, match="there are no inputs"):
        kz.run.write_features(reversing, [], tmp_path / "none.npz", "encoder")


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory):
    """A run of an autoencoder of digits."""
    run = tmp_path_factory.mktemp("digits") / "run"
    sizes = {"encoder_units": (13, 7), "decoder_units": (11,)}
    kz.run.train(
        "dense_autoencoder",
        "digits",
        run,
        sizes,
        training={"epochs": 2, "xla": False, "augment": ("patch_mask:rate=0.3,size=2",)},
        evaluate=False,
        tensorboard=False,
        print_fn=lambda line: None,
    )
    return run


def test_a_probe_finds_digits_in_codes(autoencoder):
    out, _ = in_process("probe", f"--run_dir={autoencoder}", "--layer=encoder", "--task=digits", "--limit=401")
    head, row, baseline = out.splitlines()
    assert head.split()[0] == "layer" and row.split()[:2] == ["encoder", "7"] and "most frequent class" in baseline
    assert float(row.split()[-2]) > 3 * float(baseline.split()[-2])
    saved = json.loads((autoencoder / "probe-encoder.json").read_text())
    assert saved["width"] == 7 and saved["examples"]["train"] == 401 and saved["task"] == "digits"
    assert saved["test"]["accuracy"] == pytest.approx(float(row.split()[-2]), abs=1e-4)


def test_refusals_of_the_commands(autoencoder, tmp_path):
    given = f"--run_dir={autoencoder}"
    assert "--layer needs --to=FILE.npz" in refused("predict", given, "--layer=encoder", "x")
    assert "encoder.dense_1" in refused("predict", given, "--layer=encoder.dense1", f"--to={tmp_path}/f.npz", "x")
    assert "--layer is required" in refused("probe", given, "--task=digits")
    table = ["--task=table", "--targets=label:1", "--inputs=text:0", *data(tmp_path)]
    message = refused("probe", given, "--layer=encoder", *table)
    assert "a probe must predict a label of what the run reads, image; got label of text" in message


def data(folder):
    (folder / "t.tsv").write_text("".join(f"a{n}\tx{n % 2}\n" for n in range(40)), encoding="utf-8")
    return [f"--data_dir={folder}/t.tsv"]
