"""The table of models: what it lists, what it refuses, that its numbers are true."""

import subprocess
import sys

import keras
import pytest

import kerazoo as kz
from kerazoo import _checks, catalog

PROMISED = {
    "dense_autoencoder": "autoencoder",
    "dense_autoencoder_binary": "binary_classifier",
    "dense_variational_autoencoder": "autoencoder",
    "mlp_classifier": "classifier",
    "mlp_encoder_classifier": "classifier",
    "cnn_classifier": "classifier",
    "mobilenet_classifier": "classifier",
    "shufflenet_classifier": "classifier",
    "bag_dual_encoder": "dual_encoder",
    "transformer_dual_encoder": "dual_encoder",
    "transformer_masked_lm_tiny": "masked_language_model",
    "minilm_l6": "dual_encoder",
    "lstm_seq2seq": "seq2seq",
    "lstm_seq2seq_attention": "seq2seq",
    "transformer_seq2seq_tiny": "seq2seq",
    "transformer_seq2seq_small": "seq2seq",
    "transformer_seq2seq_base": "seq2seq",
    "transformer_seq2seq_big": "seq2seq",
    "lstm_lm": "language_model",
    "pixel_lstm": "language_model",
    "pixel_lstm_seq2seq": "seq2seq",
    "pixel_transformer": "language_model",
    "pixel_transformer_seq2seq": "seq2seq",
    "transformer_lm_tiny": "language_model",
    "transformer_lm_small": "language_model",
    "transformer_lm_base": "language_model",
    "transformer_classifier": "classifier",
    "linear_forecaster": "forecaster",
    "patch_forecaster": "forecaster",
}


@pytest.fixture
def table(monkeypatch):
    """A copy of the catalog to add to."""
    monkeypatch.setattr(catalog._models, "_values", dict(catalog._models._values))


def test_every_promised_row_is_there():
    assert {name: kz.describe(name).kind for name in kz.list_models()} == PROMISED


def test_lists_by_pattern_and_kind():
    assert kz.list_models("lstm_s*") == ["lstm_seq2seq", "lstm_seq2seq_attention"]
    assert kz.list_models("*_tiny", kind="language_model") == ["transformer_lm_tiny"]
    assert kz.list_models("nothing*") == []
    assert set(kz.list_models(kind="seq2seq")) == {name for name, kind in PROMISED.items() if kind == "seq2seq"}


def test_reading_the_table_imports_nothing_heavy():
    code = (
        "import sys, kerazoo as kz\n"
        "for name in kz.list_models('*'): assert kz.describe(name).parameters > 0 and str(kz.describe(name))\n"
        "assert kz.count_parameters('transformer_seq2seq_big') > 200e6\n"
        "assert kz.describe('conv,lstm+transformer').kind == 'seq2seq'\n"
        "print([m for m in ('keras', 'tensorflow', 'jax', 'torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


DEPTH = ("num_layers", "num_encoder_layers", "num_decoder_layers")


# Other rows of these classes are larger or smaller; `python -m pytest -m slow tests/test_catalog.py` counts them.
OTHER_SIZES = [
    "lstm_seq2seq", "minilm_l6", "pixel_lstm_seq2seq", "pixel_transformer", "transformer_dual_encoder",
    "transformer_lm_base", "transformer_lm_tiny", "transformer_seq2seq_small", "transformer_seq2seq_tiny",
]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in OTHER_SIZES else ()) for name in sorted(PROMISED)],
)
def test_parameters_in_the_row_are_counted(name):
    """Nothing is allocated for it, so the big ones are counted as well; deep ones grow by the same for each layer."""
    spec = kz.describe(name)
    depth = {argument: size for argument, size in spec.sizes.items() if argument in DEPTH}
    layers = max(depth.values(), default=0)
    if layers <= 2:
        assert kz.count_parameters(name, name="counted") == spec.parameters
        return
    one, two = (kz.count_parameters(name, **dict.fromkeys(depth, n)) for n in (1, 2))
    assert one + (layers - 1) * (two - one) == spec.parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in sorted(PROMISED) if "transformer_" in name])
def test_parameters_of_all_layers_are_counted(name):
    assert kz.count_parameters(name, name="counted") == kz.describe(name).parameters


def test_counting_leaves_no_weights_behind():
    from keras.src.backend.common import global_state

    kz.count_parameters("mlp_classifier", units=(7,))
    assert not global_state.get_global_attribute("uninitialized_variables")
    assert kz.count_parameters("mlp_classifier", units=(7,), input_shape=(11,)) == 11 * 7 + 7 + 7 * 10 + 10


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_every_row_is_complete(name):
    spec = kz.describe(name)
    assert spec.kind in catalog.KINDS and spec.reference and spec.sizes and spec.parameters
    assert set(spec.sizes) <= set(catalog.arguments(name))
    assert issubclass(spec.load(), keras.Model)


def test_paper_sizes_have_the_papers_parameters():
    """65 and 213 million in the paper, whose joint vocabularies are not exactly 37,000; 124 million in GPT-2."""
    assert kz.count_parameters("transformer_seq2seq_base") == pytest.approx(65e6, rel=0.04)
    assert kz.count_parameters("transformer_seq2seq_big") == pytest.approx(213e6, rel=0.01)
    assert kz.count_parameters("transformer_lm_base") == 124_439_808


def test_create_overrides_sizes():
    model = kz.create("mlp_classifier", num_classes=3, name="mine")
    assert model.num_classes == 3 and model.name == "mine"
    assert model.get_config()["units"] == (128,)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: kz.create("transfomer_lm"),
            r"Unknown model 'transfomer_lm'. Close names: transformer_lm_.*list_models\(\), or .*'conv\+lstm'",
        ),
        (lambda: kz.describe("mlp"), r"Unknown model 'mlp'. .*All: kerazoo.list_models"),
        (
            lambda: kz.create("lstm_seq2seq", unit=5),
            r"argument of lstm_seq2seq \(LSTMSeq2Seq\): 'unit'. Close names: units.* All: source_vocab",
        ),
        (lambda: kz.count_parameters("mlp_classifier", num_class=5), r"'num_class'. Close names: num_classes"),
        (lambda: kz.list_models(kind="seq2sec"), r"`kind` must be one of .*kind='seq2sec'. Did you mean 'seq2seq'"),
        (lambda: kz.register("mine", kind="clasifier"), r"`kind` must be one of .*got kind='clasifier'. Did you mean"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "name, options, error, message",
    [
        (
            "mlp_classifier",
            {"units": (10**8,)},
            _checks.SetupError,
            r"79,500,000,010 weights take 296 GiB.* units=\(100000000,",
        ),
        (
            "mlp_classifier",
            {"input_shape": (10**5, 10**5, 1)},
            _checks.SetupError,
            "got input_shape=.100000, 100000, 1.. Choose",
        ),
        ("lstm_seq2seq", {"units": 10**9}, ValueError, "`units` must be at most 268,435,456; got units=1000000000"),
        (
            "lstm_seq2seq",
            {"num_layers": 10**6},
            ValueError,
            "`num_layers` must be at most 1,000; got num_layers=1000000",
        ),
        ("mlp_classifier", {"units": (8,) * 1001}, ValueError, "`units` must have at most 1,000 integers; got 1,001"),
        ("mlp_classifier", {"dtype": "bogus"}, ValueError, "mlp_classifier: `dtype` must be .*; got dtype='bogus'"),
        ("conv+lstm", {"name": "a/b"}, ValueError, r"conv\+lstm: `name` must be .* without '/'; got name='a/b'"),
        ("mlp_classifier", {"trainable": 3}, TypeError, "`trainable` must be True or False; got trainable=3"),
        (
            "lstm_seq2seq",
            {"end_id": 0},
            ValueError,
            "LSTMSeq2Seq: `end_id` must differ from `pad_id`.* end_id=0, pad_id=0",
        ),
        ("transformer_lm_tiny", {"vocabulary_size": 3}, ValueError, "`vocabulary_size` must be above 3.*=3"),
    ],
)
def test_sizes_and_arguments_no_model_can_have(name, options, error, message, monkeypatch):
    monkeypatch.setattr(catalog, "_machine_memory", lambda: 2**36)
    with pytest.raises(error, match=message):
        kz.create(name, **options)


def test_arguments_of_keras_are_checked_without_the_catalog():
    with pytest.raises(ValueError, match="MLPClassifier: `dtype` must be .*got dtype='bogus'"):
        kz.models.MLPClassifier(dtype="bogus")


def test_composed_names_are_described_counted_and_made():
    spec = kz.describe("conv,lstm+transformer")
    assert spec.kind == "seq2seq" and spec.class_name == "EncoderDecoder" and spec.sizes["encoder_2.units"] == 64
    assert "decoder.num_layers=2" in str(spec)
    assert {"encoder.filters", "encoder_2.units", "decoder.hidden_dim", "pad_id", "name"} <= set(spec.arguments())
    assert "encoder.units" not in spec.arguments() and "owner" not in spec.arguments()
    assert not any("+" in name for name in kz.list_models())
    sizes = {"encoder.filters": (5, 7), "decoder.units": 3, "encoder.activation": "tanh", "name": "mine"}
    options = {"vocabulary_size": 13, "input_shape": (8, 8, 1), **sizes}
    model = kz.create("conv+lstm", **options)
    assert model.name == "mine" and model.encoder.filters == (5, 7) and model.decoder.units == 3
    assert model.decoder.attention == "multiplicative"
    model.build_from_inputs()
    assert kz.count_parameters("conv+lstm", **options) == model.count_params()
    kinds = {name: kz.describe(f"lstm+{name}").kind for name in ("dense", "classifier", "binary_classifier")}
    assert kinds == {"dense": "autoencoder", "classifier": "classifier", "binary_classifier": "binary_classifier"}


def test_composed_models_share_an_embedding_where_both_sides_need_the_same():
    sizes = {"source_vocabulary_size": 13, "target_vocabulary_size": 13, "share_embeddings": True}
    block = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 11}
    blocks = {f"{side}.{name}": size for side in ("encoder", "decoder") for name, size in block.items()}
    shared = kz.create("transformer+transformer", **sizes, **blocks, tie_output=True)
    assert shared.target_embedding is shared.source_embedding and shared.get_config()["target_embedding"] == "source"
    mixed = kz.create("lstm+transformer", **sizes, **{"decoder.hidden_dim": 8, "decoder.num_heads": 2})
    assert mixed.target_embedding is not mixed.source_embedding
    rotary = kz.create("transformer+lstm", **sizes, **{"encoder.positions": "rotary"})
    assert rotary.source_embedding.positions is None
    learned = kz.create("conv+transformer", **sizes, positions="learned", max_length=17)
    assert learned.max_length == learned.max_source_lengths["source"] == 17
    assert kz.create("lstm+lstm", vocabulary_size=5, embedding_dim=3).target_embedding.hidden_dim == 3


VOCABULARY = {"vocabulary_size": 5}


@pytest.mark.parametrize(
    "name, options, message",
    [
        (
            "lstmm+transformer",
            {},
            "Unknown encoder 'lstmm'. Close names: lstm, conv_lstm. All: backbone, bag, conv, conv_lstm, "
            "conv_transformer, dense, lstm, transformer",
        ),
        ("conv,+lstm", {}, "Unknown encoder ''. All: backbone, bag"),
        ("lstm+transfomer", {}, "Unknown decoder 'transfomer'. Close names: transformer"),
        ("conv+lstm", {"encoder.filter": 3}, r"of conv\+lstm \(EncoderDecoder\): 'encoder.filter'. .* encoder.filters"),
        ("conv+lstm", {"decoder_2.units": 3}, "'decoder_2.units'. Close names: decoder.units"),
        ("conv+lstm", {"units": 3}, "'units'. Close names: decoder.units"),
        ("conv+lstm", {"encoder.units": 3}, "'encoder.units'. Close names: decoder.units"),
        ("conv+lstm", {}, r"conv\+lstm: `target_vocabulary_size`.* is needed; got neither it nor `vocabulary_size`"),
        ("conv+lstm", {**VOCABULARY, "target_vocabulary_size": 7}, "mean the same; got target_vocabulary_size=7"),
        ("conv+lstm", {**VOCABULARY, "share_embeddings": True}, "needs one vocabulary .*share_embeddings=True, .*=5"),
        ("conv+lstm", {**VOCABULARY, "encoder.filters": 0}, "ConvEncoder: `filters.*got .*0"),
        ("conv+lstm", {**VOCABULARY, "positions": "rotary"}, r"conv\+lstm: `positions` must be one of .*'rotary'"),
        ("lstm,conv+lstm", {**VOCABULARY, "input_shape": (3, 3, 1)}, r"list of 2, one for each .*input_shape=\(3, 3"),
        ("lstm+dense", {"source_vocabulary_size": 5}, r"lstm\+dense: `output_size`.* is needed; got output_size=None"),
        ("lstm+classifier", {"source_vocabulary_size": 5}, "`num_classes` is needed; got num_classes=None"),
    ],
)
def test_composed_names_are_refused_with_the_nearest(name, options, message):
    with pytest.raises(ValueError, match=message):
        kz.create(name, **options)


def test_register_without_a_name_is_refused():
    with pytest.raises(TypeError, match=r'write `@kerazoo.register\("name", kind=...\)`.*got name=<class'):
        kz.register(keras.Model, kind="classifier")


def test_register_a_model_of_ones_own(table):
    @kz.register("mine", kind="classifier", sizes={"width": 5}, reference="nobody")
    class Mine(keras.Model):
        def __init__(self, width, num_classes=2, **kwargs):
            super().__init__(**kwargs)
            self.width = width

    assert kz.list_models("mine*") == ["mine"]
    assert kz.create("mine", num_classes=3).width == 5
    assert catalog.arguments("mine") == ("width", "num_classes", "name", "dtype", "trainable")
    assert keras.saving.get_registered_object(keras.saving.get_registered_name(Mine)) is Mine
    assert "nobody" in str(kz.describe("mine"))
    with pytest.raises(ValueError, match="count_parameters: mine must know .*; got Mine, a plain keras.Model"):
        kz.count_parameters("mine")
    with pytest.raises(ValueError, match="model 'mine' is already registered"):
        kz.register("mine", kind="classifier")(Mine)
    kz.register("mine", kind="classifier", sizes={"width": 7}, replace=True)(Mine)
    assert kz.create("mine").width == 7
    with pytest.raises(ValueError, match=r"argument of other \(Mine\): 'wdith'. Close names: width"):
        kz.register("other", kind="classifier", sizes={"wdith": 5})(Mine)


def test_a_registered_class_keeps_its_keras_name(table):
    kz.register("again", kind="classifier")(kz.models.MLPClassifier)
    assert keras.saving.get_registered_name(kz.models.MLPClassifier) == "kerazoo>MLPClassifier"


def test_import_modules(tmp_path, monkeypatch, table):
    (tmp_path / "my_zoo_module.py").write_text(
        "import kerazoo as kz\nkz.register('from_file', kind='classifier')(kz.models.MLPClassifier)\n"
    )
    (tmp_path / "my_broken_module.py").write_text("import no_such_module_inside\n")
    monkeypatch.syspath_prepend(tmp_path)
    catalog.import_modules(["my_zoo_module"])
    assert "from_file" in kz.list_models()
    with pytest.raises(_checks.SetupError, match="No module 'my_missing_module' to import"):
        catalog.import_modules(["my_missing_module"])
    with pytest.raises(ModuleNotFoundError, match="no_such_module_inside"):
        catalog.import_modules(["my_broken_module"])


def test_spec_describes_its_class():
    class Mine:
        def __init__(self, units, depth=2, *rest, **kwargs):
            pass

    spec = catalog.ModelSpec(Mine, "classifier", {"units": 3}, "me", 12345)
    assert spec.load() is Mine and spec.class_name == "Mine"
    assert spec.arguments() == ("units", "depth", "name", "dtype", "trainable")
    assert str(spec) == "classifier, 12,345 parameters\n  Mine(units=3)\n  me"
    assert str(catalog.ModelSpec("a.module:Name", "seq2seq")) == "seq2seq\n  Name()"
