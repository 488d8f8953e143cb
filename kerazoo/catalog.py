"""The table of models: a name, the class behind it, its sizes, what it is for and where its configuration is from.

Besides the rows there are composed models: `"conv+lstm"` is a convolutional encoder with an LSTM decoder, and
`"conv,lstm+transformer"` has two encoders, one for each source. Reading the table imports no Keras: only `create` and
the checks of arguments load the classes. The number of parameters of a row is stored, and a test counts it.
"""

import dataclasses
import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kerazoo import _checks, _docstrings
from kerazoo.registry import Registry, argument_names

# A forecaster predicts a sequence of vectors of numbers: the future of a series, or the frames of a sound.
# A dual encoder reads two sources and compares their vectors. A masked language model predicts tokens of its source.
KINDS = (
    "seq2seq", "language_model", "classifier", "binary_classifier", "autoencoder", "forecaster", "dual_encoder",
    "masked_language_model",
)  # fmt: skip

# The weights of a model with a size of at least this are counted before any memory is taken for them.
LARGE_SIZE = 2**15
# Four times as many, as the gates of an LSTM have, are the most that one axis of a TensorFlow tensor holds.
MAX_SIZE = 2**28

# What `keras.Model` itself takes, through the `**kwargs` of a constructor.
_KERAS_ARGUMENTS = ("name", "dtype", "trainable")


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """One row of the catalog.

    Args:
        cls: class, or `"module:name"` of it.
        kind: string, one of `KINDS`. What the model is for; a task serves some kinds.
        sizes: dictionary. Constructor arguments of this row.
        reference: string. Where the configuration is from. Defaults to `None`.
        parameters: integer. Number of weights with these sizes. Defaults to `None`, not counted.
        training: dictionary. Fields of `TrainingOptions` that differ for this model.
    """

    cls: type | str
    kind: str
    sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reference: str | None = None
    parameters: int | None = None
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self):
        count = f", {self.parameters:,} parameters" if self.parameters else ""
        sizes = ", ".join(f"{name}={value!r}" for name, value in self.sizes.items())
        source = f"\n  {self.reference}" if self.reference else ""
        return f"{self.kind}{count}\n  {self.class_name}({sizes}){source}"

    @property
    def class_name(self) -> str:
        """The bare name of the class."""
        return self.cls.split(":")[-1] if isinstance(self.cls, str) else self.cls.__name__

    def load(self) -> type:
        """Returns the class, imported if it was given as `"module:name"`."""
        return _imported(self.cls)

    def arguments(self) -> tuple[str, ...]:
        """Returns the names of the arguments that `create` accepts for this model."""
        parameters = _docstrings.parameters(self.load())
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        return tuple(dict.fromkeys([*argument_names(self.load()), *(_KERAS_ARGUMENTS if open_ended else ())]))

    def explain(self) -> dict[str, tuple[Any, str]]:
        """Returns the default value and the description of each argument."""
        defaults, texts = {}, {}
        for prefix, function in self._functions().items():
            for name, value in _docstrings.argument_defaults(function).items():
                defaults[prefix + name] = value
            for name, text in _docstrings.argument_help(function).items():
                texts[prefix + name] = text
        defaults |= self.sizes
        return {name: (defaults.get(name), texts.get(name, "")) for name in self.arguments()}

    def _functions(self) -> dict[str, Callable]:
        """Returns what takes the arguments, by the prefix of their names."""
        return {"": self.load()}

    def build(self, overrides: Mapping[str, Any]) -> Any:
        """Returns a new model with the sizes of this row and `overrides`."""
        return self.load()(**{**self.sizes, **overrides})


@dataclasses.dataclass(frozen=True)
class _Part:
    """An encoder, a decoder or a head that a composed model may have.

    Args:
        cls: class, or `"module:name"` of it. `None` for a head that is not a layer of its own.
        sizes: dictionary. Default arguments.
        model: string, `"module:name"` of the model that a decoder or head makes.
        function: string, `"module:name"` of the function that composes this model.
        kind: string, one of `KINDS`. What the model is for.
    """

    cls: str | None
    sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    model: str = ""
    function: str = ""
    kind: str = ""

    def __str__(self):
        return self.cls or self.model


@dataclasses.dataclass(frozen=True)
class ComposedSpec(ModelSpec):
    """A model composed of encoders and a decoder or head; its arguments include those of the parts, with a dot.

    Args:
        name: string. The name, such as `"conv+lstm"`. Defaults to `""`.
        parts: dictionary. The parts by their prefix: `"encoder"`, `"encoder_2"`, ..., `"decoder"`.
        function: callable, or `"module:name"` of it. Composes the model of the parts. Defaults to `""`.
    """

    name: str = ""
    parts: Mapping[str, _Part] = dataclasses.field(default_factory=dict)
    function: Callable | str = ""

    def arguments(self) -> tuple[str, ...]:
        """Returns the names of the arguments of the model, then those of its parts, such as `"encoder.units"`."""
        plain = [
            name for name in argument_names(_imported(self.function)) if name not in ("owner", "encoders", "decoder")
        ]
        dotted = [
            f"{prefix}.{name}" for prefix, part in self.parts.items() for name in argument_names(_imported(part.cls))
        ]
        return (*plain, *_KERAS_ARGUMENTS, *dotted)

    def _functions(self) -> dict[str, Callable]:
        parts = {f"{prefix}.": _imported(part.cls) for prefix, part in self.parts.items()}
        return {"": _imported(self.function), **parts}

    def build(self, overrides: Mapping[str, Any]) -> Any:
        """Returns a new model with the default sizes of the parts and `overrides`."""
        chosen = {**self.sizes, **overrides}
        layers = {}
        for prefix, part in self.parts.items():
            sizes = {name.split(".")[1]: value for name, value in chosen.items() if name.startswith(f"{prefix}.")}
            layers[prefix] = (_imported(part.cls), sizes)
        decoder = {"decoder": layers.pop("decoder")} if "decoder" in layers else {}
        options = {name: value for name, value in chosen.items() if "." not in name}
        return _imported(self.function)(self.name, list(layers.values()), **decoder, **options)


def _imported(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    module, name = value.split(":")
    return getattr(importlib.import_module(module), name)


_models = Registry("model", all_names="kerazoo.list_models(), or an encoder and a decoder such as 'conv+lstm'")
_encoders = Registry("encoder")
_decoders = Registry("decoder")


def list_models(pattern: str = "*", kind: str | None = None) -> list[str]:
    """Returns the sorted names of the rows that match. Composed models such as `"conv+lstm"` are not listed.

    Args:
        pattern: string. What a name must look like; `*`, `?` and `[abc]` are wildcards. Defaults to `"*"`.
        kind: string, one of `KINDS`. The kind to list. Defaults to all.

    Example:

    ```python
    import kerazoo as kz

    assert "lstm_seq2seq_attention" in kz.list_models("*lstm*")
    assert "transformer_lm_tiny" in kz.list_models(kind="language_model")
    ```
    """
    if kind is not None:
        _checks.one_of("list_models", "kind", kind, KINDS)
    return [name for name in _models.names(pattern) if kind in (None, _models.get(name).kind)]


def describe(name: str) -> ModelSpec:
    """Returns the specification of a model; printed, it shows its kind, its sizes and their source.

    Args:
        name: string. A name of `list_models()`, or encoders joined by commas, a plus and a decoder: `dense`, `conv`,
            `lstm`, `transformer`, `bag`, for images `vit` and `backbone`, a network of `keras.applications`, or
            `conv_lstm` or `conv_transformer`, which shorten long sequences of vectors, such as sound, first; then
            `lstm` or `transformer` for a seq2seq model, `lstm_values` or `transformer_values` for a decoder that reads
            and predicts vectors of numbers in place of tokens, `dense` for an output of one vector, `variational` for
            the same from a sampled code, `classifier` for a logit for each class, `binary_classifier` for one logit,
            `dual_encoder` for the similarity of two sources, which share an encoder or have one each, `masked_lm` for
            the tokens at masked positions.

    Example:

    ```python
    import kerazoo as kz

    assert kz.describe("conv+lstm").kind == "seq2seq"
    assert kz.describe("conv+lstm").sizes["decoder.units"] == 128
    ```
    """
    return _composed(name) if isinstance(name, str) and "+" in name and name not in _models else _models.get(name)


get = describe


def _composed(name):
    """Returns the specification of `"ENCODER,ENCODER+DECODER"`."""
    encoders, _, decoder = name.partition("+")
    made = _decoders.get(decoder)
    parts = {f"encoder_{n}" if n > 1 else "encoder": _encoders.get(e) for n, e in enumerate(encoders.split(","), 1)}
    if made.cls:
        parts["decoder"] = made
    sizes = {f"{prefix}.{size}": value for prefix, part in parts.items() for size, value in part.sizes.items()}
    return ComposedSpec(made.model, made.kind, sizes, name=name, parts=parts, function=made.function)


def encoder_name(cls: str) -> str | None:
    """Returns the name in composed models of the encoder of a class; of a decoder, that of an encoder of its kind.

    Args:
        cls: string. The name of the class of a layer.
    """
    return _part_name(_encoders, cls.replace("Decoder", "Encoder"))


def decoder_class(name: str) -> str | None:
    """Returns the name of the class of the decoder of composed models, `None` for a head that has none."""
    cls = _decoders.get(name).cls
    return cls and cls.partition(":")[2]


def _part_name(parts, cls):
    return next((name for name in parts if (parts.get(name).cls or "").partition(":")[2] == cls), None)


def arguments(name: str) -> tuple[str, ...]:
    """Returns the names of the arguments that `create` accepts for a model."""
    return describe(name).arguments()


def check_overrides(name: str, overrides: Mapping[str, Any]) -> None:
    """Refuses names in `overrides` that the model has no argument for.

    Raises:
        ValueError: for the first such name; the message offers the nearest ones.
    """
    accepted = arguments(name)
    for argument in overrides:
        if argument not in accepted:
            owner = f"argument of {name} ({describe(name).class_name}):"
            raise _checks.unknown(owner, argument, accepted, ", ".join(accepted))


def create(name: str, /, **overrides: Any) -> Any:
    """Returns a new model, of a row of the catalog or composed of encoders and a decoder.

    Args:
        name: string. A name of `list_models()`, or a composed name such as `"conv+lstm"`, see `describe`.
        **overrides: arguments that differ from the row. Those of the parts of a composed model have a dot:
            `**{"encoder.units": 64}`; the parts are `encoder`, `encoder_2`, ... and `decoder`. A composed model embeds
            a source if `source_vocabulary_size` is given. Several sources take lists, with None where a source is no
            token ids.

    Raises:
        ValueError: if there is no such model or argument; the message offers the nearest name. Also if a size is above
            any that a tensor can have.
        SetupError: if the weights alone take more than the memory of this machine.

    Example:

    ```python
    import kerazoo as kz
    import numpy as np

    model = kz.create("lstm_seq2seq", source_vocabulary_size=50, target_vocabulary_size=40)
    logits = model({"source": np.array([[5, 6, 7]]), "targets": np.array([[8, 9]])})  # [1, 2, 40]

    captioner = kz.create("conv+lstm", vocabulary_size=40, **{"encoder.filters": (16, 32), "decoder.units": 64})
    images = np.ones((1, 8, 8, 3), "float32")
    assert captioner({"source": images, "targets": np.array([[8, 9]])}).shape == (1, 2, 40)
    ```
    """
    from kerazoo.models.base_model import check_keras_arguments

    check_overrides(name, overrides)
    check_keras_arguments(name, overrides)
    spec = describe(name)
    _check_memory(name, spec, overrides)
    return spec.build(overrides)


def _check_memory(name: str, spec: ModelSpec, overrides: Mapping[str, Any]) -> None:
    """Refuses sizes whose weights do not fit into the memory of this machine, before any of it is taken."""
    chosen = {**spec.sizes, **overrides}
    sizes = {argument: max(_integers(value), default=0) for argument, value in chosen.items()}
    largest = max(sizes, key=sizes.__getitem__, default=None)
    if largest is None or sizes[largest] < LARGE_SIZE:
        return
    got = f"got {largest}={chosen[largest]!r}"
    if sizes[largest] > MAX_SIZE:
        raise ValueError(f"{name}: `{largest}` must be at most {MAX_SIZE:,}; {got}.")
    try:
        parameters = _count(name, spec, overrides)
    except ValueError:  # the shapes of the inputs are not known before the first call
        return
    check_memory(name, parameters, f"; {got}. Choose a smaller `{largest}`")


def check_memory(owner: str, parameters: int, advice: str = "") -> None:
    """Raises a SetupError if so many weights do not fit into the memory of this machine.

    Args:
        owner: string. The model or the run that the message names.
        parameters: int. The number of weights.
        advice: string. The end of the message. Defaults to none.
    """
    memory, needed = _machine_memory(), 4 * parameters
    if memory and needed > memory:
        raise _checks.SetupError(
            f"{owner}: {parameters:,} weights take {needed / 2**30:,.0f} GiB, and this machine has "
            f"{memory / 2**30:,.0f} GiB{advice}."
        )


def _machine_memory() -> int:
    """Returns the bytes of memory of this machine, 0 where the system does not tell."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def _integers(value: Any) -> list[int]:
    """Returns all integers in a value or in a nest of lists."""
    if isinstance(value, list | tuple):
        return [each for item in value for each in _integers(item)]
    return [value] if isinstance(value, int) else []


def count_parameters(name: str, /, **overrides: Any) -> int:
    """Returns the number of weights of a model as `create` would make it, without memory for them.

    Raises:
        ValueError: if the model is a plain `keras.Model`, which only data can build.
    """
    spec = describe(name)
    if not overrides and spec.parameters is not None:
        return spec.parameters
    check_overrides(name, overrides)
    return _count(name, spec, overrides)


def _count(name: str, spec: ModelSpec, overrides: Mapping[str, Any]) -> int:
    from kerazoo import _backend
    from kerazoo.models.base_model import BaseModel

    with _backend.no_memory():
        model = spec.build(overrides)
        if not isinstance(model, BaseModel):
            raise ValueError(
                f"count_parameters: {name} must know the shapes of its inputs; got {type(model).__name__}, a plain "
                "keras.Model. Call the model on data and use its `count_params()`."
            )
        model.build_from_inputs()
        return model.count_params()


def register(
    name: str,
    kind: str,
    sizes: Mapping[str, Any] | None = None,
    reference: str | None = None,
    *,
    replace: bool = False,
) -> Callable[[type], type]:
    """Returns a decorator that adds a class of your own to the catalog.

    The model is then available by its name in `create`, in the listings and on the command line
    (`--import=my_module --model=mine`). It may be any `keras.Model` that takes a dictionary of the inputs of a task,
    such as `{"source": ...}`; one that generates is a `kerazoo.decoding.Decodable` as well. The class is registered
    with Keras as well, so that its files can be loaded.

    Args:
        name: string. The name of the row; a taken one is refused.
        kind: string, one of `KINDS`. What the model is for.
        sizes: dictionary. Constructor arguments of this row. Defaults to `None`.
        reference: string. Where the configuration is from. Defaults to `None`.
        replace: boolean. Whether a row of that name is replaced, for a cell of a notebook that runs twice. Defaults to
            `False`.

    Example:

    ```python
    import keras
    import kerazoo as kz

    @kz.register("linear_classifier", kind="classifier", sizes={"num_classes": 10}, replace=True)
    class Linear(kz.models.Classifier):
        def __init__(self, num_classes, input_shape=(64,), **kwargs):
            encoder = kz.layers.DenseEncoder(units=(num_classes,), activation=None)
            super().__init__(encoder, num_classes, input_shape=input_shape, **kwargs)

    model = kz.create("linear_classifier", num_classes=3)
    ```
    """
    _checks.one_of("register", "kind", kind, KINDS)
    if not isinstance(name, str):
        raise TypeError(f'register: write `@kerazoo.register("name", kind=...)` above the class; got name={name!r}.')

    def decorate(cls):
        import keras

        if keras.saving.get_registered_name(cls) == cls.__name__:  # not registered with Keras yet
            keras.saving.register_keras_serializable(package=cls.__module__)(cls)
        _models.add(name, ModelSpec(cls, kind, dict(sizes or {}), reference), replace=replace)
        check_overrides(name, sizes or {})
        return cls

    return decorate


def import_modules(names: Iterable[str]) -> None:
    """Imports modules of your own by name, so that their `register` decorators run.

    Raises:
        ValueError: if a name is not that of a module.
        SetupError: if there is no such module.
    """
    for name in names:
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(f"`imports` must name modules as an import statement does; got imports={name!r}.")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name.split(".")[0] and error.name != name:
                raise
            raise _checks.SetupError(
                f"No module {name!r} to import. It is looked for in the current folder and on PYTHONPATH."
            ) from error


_TRANSFORMER = {"num_layers": 2, "hidden_dim": 128, "num_heads": 4, "intermediate_dim": 256}
_encoders.add("dense", _Part("kerazoo.layers:DenseEncoder", {"units": (128, 128)}))
_encoders.add("conv", _Part("kerazoo.layers:ConvEncoder", {"filters": (64, 128)}))
_encoders.add("lstm", _Part("kerazoo.layers:LSTMEncoder", {"units": 64, "bidirectional": True}))
_encoders.add("transformer", _Part("kerazoo.layers:TransformerEncoder", _TRANSFORMER))
_encoders.add("conv_lstm", _Part("kerazoo.layers:SubsampledLSTMEncoder", {"units": 128, "bidirectional": True}))
_encoders.add("conv_transformer", _Part("kerazoo.layers:SubsampledTransformerEncoder", _TRANSFORMER))
_encoders.add("vit", _Part("kerazoo.layers:PatchEncoder", {**_TRANSFORMER, "patch_size": 4}))
_encoders.add("backbone", _Part("kerazoo.layers:BackboneEncoder", {"backbone": "MobileNetV3Small"}))
_encoders.add("bag", _Part("kerazoo.layers:BagEncoder", {"units": 256}))

_SEQ2SEQ = ("kerazoo.models:EncoderDecoder", "kerazoo.models.composition:encoder_decoder", "seq2seq")
_VALUES = (
    "kerazoo.models:ContinuousEncoderDecoder", "kerazoo.models.composition:continuous_encoder_decoder", "forecaster"
)  # fmt: skip
_VECTOR = ("kerazoo.models:Autoencoder", "kerazoo.models.composition:autoencoder", "autoencoder")
_CLASSES = ("kerazoo.models:Classifier", "kerazoo.models.composition:classifier", "classifier")
_ONE_CLASS = ("kerazoo.models:Classifier", "kerazoo.models.composition:binary_classifier", "binary_classifier")
_PAIRS = ("kerazoo.models:DualEncoder", "kerazoo.models.composition:dual_encoder", "dual_encoder")
_MASKED = (
    "kerazoo.models:MaskedLanguageModel",
    "kerazoo.models.composition:masked_language_model",
    "masked_language_model",
)
_decoders.add("dense", _Part("kerazoo.layers:DenseDecoder", {"units": (128,)}, *_VECTOR))
_VARIATIONAL = (
    "kerazoo.models:VariationalAutoencoder",
    "kerazoo.models.composition:variational_autoencoder",
    "autoencoder",
)
_decoders.add("variational", _Part("kerazoo.layers:DenseDecoder", {"units": (128,)}, *_VARIATIONAL))
_decoders.add("lstm", _Part("kerazoo.layers:LSTMDecoder", {"units": 128, "attention": "multiplicative"}, *_SEQ2SEQ))
_decoders.add("transformer", _Part("kerazoo.layers:TransformerDecoder", _TRANSFORMER, *_SEQ2SEQ))
_decoders.add("lstm_values", _Part("kerazoo.layers:LSTMDecoder", {"units": 128}, *_VALUES))
_decoders.add("transformer_values", _Part("kerazoo.layers:TransformerDecoder", _TRANSFORMER, *_VALUES))
_decoders.add("classifier", _Part(None, {}, *_CLASSES))
_decoders.add("binary_classifier", _Part(None, {}, *_ONE_CLASS))
_decoders.add("dual_encoder", _Part(None, {}, *_PAIRS))
_decoders.add("masked_lm", _Part(None, {}, *_MASKED))


def _row(name, cls, kind, parameters, reference, training=None, **sizes):
    _models.add(name, ModelSpec(f"kerazoo.models:{cls}", kind, sizes, reference, parameters, training or {}))


def _composed_row(name, composed, parameters, reference, training=None, **sizes):
    spec = _composed(composed)
    chosen = {"sizes": {**spec.sizes, **sizes}, "training": training or {}}
    _models.add(name, dataclasses.replace(spec, name=name, reference=reference, parameters=parameters, **chosen))


_row(
    "dense_autoencoder", "DenseAutoencoder", "autoencoder", 234_640,
    "Encoder 128-128 with a linear code, decoder 128; Hinton and Salakhutdinov (2006) made small",
    input_shape=(784,), encoder_units=(128, 128), decoder_units=(128,),
)  # fmt: skip
_row(
    "dense_autoencoder_binary", "DenseAutoencoder", "binary_classifier", 133_633,
    "The same with one output: binary cross-entropy of a label instead of pixels",
    input_shape=(784,), encoder_units=(128, 128), decoder_units=(128,), output_size=1,
)  # fmt: skip
_row(
    "dense_variational_autoencoder", "DenseVariationalAutoencoder", "autoencoder", 1_379_152,
    "784-512-512, a code of 32, 512-512-784; Kingma and Welling (2014), arXiv:1312.6114, with one layer more",
    input_shape=(784,), encoder_units=(512, 512), latent_dim=32, decoder_units=(512, 512),
)  # fmt: skip
_row(
    "mlp_classifier", "MLPClassifier", "classifier", 101_770,
    "784-128-10; TensorFlow Datasets guide, Training a neural network on MNIST with Keras",
    input_shape=(784,), units=(128,), num_classes=10,
)  # fmt: skip
_row(
    "mlp_encoder_classifier", "MLPClassifier", "classifier", 8_110,
    "Encoder 100-50-50, ReLU after its first layer alone, with a head; Rumelhart, Hinton and Williams (1986)",
    input_shape=(100,), units=(50, 50), activation=("relu", None), num_classes=10,
)  # fmt: skip
_row(
    "cnn_classifier", "CNNClassifier", "classifier", 19_754,
    "3x3 convolutions of 32 and 64 that halve the image, as in Springenberg et al. (2015), arXiv:1412.6806",
    input_shape=(28, 28, 1), filters=(32, 64), num_classes=10,
)  # fmt: skip
_row(
    "mobilenet_classifier", "CNNClassifier", "classifier", 220_970,
    "Howard et al. (2017), arXiv:1704.04861, table 1 at width 0.25, without its first and last halving",
    block="separable", input_shape=(28, 28, 1), filters=(8, 16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256),
    strides=(1, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1), num_classes=10,
)  # fmt: skip
_row(
    "shufflenet_classifier", "CNNClassifier", "classifier", 150_538,
    "Ma et al. (2018), arXiv:1807.11164, table 5 at width 0.5: its stages 2 to 4",
    block="shuffle", input_shape=(28, 28, 1), filters=(24, *(48,) * 4, *(96,) * 8, *(192,) * 4),
    strides=(1, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1), num_classes=10,
)  # fmt: skip
_row(
    "transformer_classifier", "TransformerClassifier", "classifier", 71_370,
    "Pre-norm encoder over rows or tokens; blocks of Vaswani et al. (2017), arXiv:1706.03762",
    input_shape=(28, 28), num_layers=2, hidden_dim=64, num_heads=4, intermediate_dim=128, num_classes=10,
)  # fmt: skip
_composed_row(
    "bag_dual_encoder", "bag+dual_encoder", 256_000,
    "Mean of word vectors, compared by cosine; Wieting et al. (2016), Towards Universal Paraphrastic Sentence "
    "Embeddings, arXiv:1511.08198",
    vocabulary_size=1000,
)  # fmt: skip
_composed_row(
    "transformer_dual_encoder", "transformer+dual_encoder", 393_216,
    "Reimers and Gurevych (2019), arXiv:1908.10084, with 2 layers of 128 instead of BERT",
    vocabulary_size=1000,
)  # fmt: skip
_composed_row(
    "transformer_masked_lm_tiny", "transformer+masked_lm", 541_568,
    "Turc et al. (2019), arXiv:1908.08962, BERT-tiny: 2 layers, 128 wide, 2 heads; pre-norm, sinusoidal positions",
    vocabulary_size=1000, **{"encoder.num_heads": 2, "encoder.intermediate_dim": 512, "encoder.activation": "gelu"},
)  # fmt: skip
_composed_row(
    "minilm_l6", "transformer+dual_encoder", 22_564_608,
    "Wang et al. (2020), arXiv:2002.10957 (MiniLM): BERT of 6 layers, 384 wide, as a sentence encoder; weights of "
    "all-MiniLM-L6-v2 fit it",
    {"learning_rate": 3e-5, "epochs": 2, "batch_size": 32},
    vocabulary_size=30522, positions="learned", max_length=512, scale_embeddings=False, embedding_normalization=True,
    **{"encoder.num_layers": 6, "encoder.hidden_dim": 384, "encoder.num_heads": 12, "encoder.intermediate_dim": 1536,
       "encoder.activation": "gelu", "encoder.norm": "post", "encoder.epsilon": 1e-12},
)  # fmt: skip
_row(
    "lstm_seq2seq", "LSTMSeq2Seq", "seq2seq", 1_035_240,
    "Sutskever et al. (2014), arXiv:1409.3215: state passed on, no attention; one layer, embedding 256, 128 units",
    {"learning_rate": 3e-3}, source_vocabulary_size=1000, target_vocabulary_size=1000, embedding_dim=256, units=128,
)  # fmt: skip
_row(
    "lstm_seq2seq_attention", "LSTMSeq2Seq", "seq2seq", 471_144,
    "Luong et al. (2015), arXiv:1508.04025: general score; bidirectional encoder of 64 units each way, decoder of 128",
    training={"epochs": 5, "batch_size": 64, "learning_rate": 3e-3},
    source_vocabulary_size=1000, target_vocabulary_size=1000, embedding_dim=64, units=128, encoder_units=64,
    bidirectional=True, attention="multiplicative",
)  # fmt: skip
_row(
    "transformer_seq2seq_tiny", "TransformerSeq2Seq", "seq2seq", 1_710_568,
    "Pre-norm as in Xiong et al. (2020), arXiv:2002.04745; 4 + 4 layers, 128 wide, 4 heads, 256 inner",
    source_vocabulary_size=1000, target_vocabulary_size=1000, num_encoder_layers=4, num_decoder_layers=4,
    hidden_dim=128, num_heads=4, intermediate_dim=256, norm="pre", share_embeddings=False, tie_output=False,
)  # fmt: skip
_row(
    "transformer_seq2seq_small", "TransformerSeq2Seq", "seq2seq", 26_834_944,
    "Vaswani et al. (2017), arXiv:1706.03762, table 3 (C): 256 wide, 32 per head",
    source_vocabulary_size=37000, target_vocabulary_size=37000, num_encoder_layers=6, num_decoder_layers=6,
    hidden_dim=256, num_heads=8, intermediate_dim=2048,
)  # fmt: skip
_row(
    "transformer_seq2seq_base", "TransformerSeq2Seq", "seq2seq", 63_082_496,
    "Vaswani et al. (2017), arXiv:1706.03762, table 3: base",
    source_vocabulary_size=37000, target_vocabulary_size=37000, num_encoder_layers=6, num_decoder_layers=6,
    hidden_dim=512, num_heads=8, intermediate_dim=2048,
)  # fmt: skip
_row(
    "transformer_seq2seq_big", "TransformerSeq2Seq", "seq2seq", 214_245_376,
    "Vaswani et al. (2017), arXiv:1706.03762, table 3: big",
    source_vocabulary_size=37000, target_vocabulary_size=37000, num_encoder_layers=6, num_decoder_layers=6,
    hidden_dim=1024, num_heads=16, intermediate_dim=4096, dropout=0.3,
)  # fmt: skip
_row(
    "transformer_lm_tiny", "TransformerLM", "language_model", 843_008,
    "nanoGPT (Karpathy), the setting for a CPU with a longer window, over bytes", {"learning_rate": 3e-3},
    vocabulary_size=260, num_layers=4, hidden_dim=128, num_heads=4, max_length=128, dropout=0.0,
)  # fmt: skip
_row(
    "transformer_lm_small", "TransformerLM", "language_model", 10_845_696,
    "nanoGPT (Karpathy), config/train_shakespeare_char.py, over bytes",
    vocabulary_size=260, num_layers=6, hidden_dim=384, num_heads=6, max_length=256, dropout=0.2,
)  # fmt: skip
_row(
    "transformer_lm_base", "TransformerLM", "language_model", 124_439_808,
    "Radford et al. (2019), Language Models are Unsupervised Multitask Learners (GPT-2), the smallest",
    vocabulary_size=50257, num_layers=12, hidden_dim=768, num_heads=12, max_length=1024, dropout=0.1,
)  # fmt: skip
_row(
    "lstm_lm", "LSTMLM", "language_model", 1_479_428,
    "Graves (2013), arXiv:1308.0850: one layer, without its peepholes and skips; 512 units, over bytes",
    {"learning_rate": 3e-3}, vocabulary_size=260, embedding_dim=128, units=512,
)  # fmt: skip
_row(
    "pixel_lstm", "PixelLM", "language_model", 191_219,
    "Images pixel by pixel; van den Oord et al. (2016), arXiv:1601.06759, with one LSTM along the rows of 128 units",
    {"learning_rate": 3e-3}, vocabulary_size=19, image_shape=(28, 28, 1), hidden_dim=128, num_layers=1,
)  # fmt: skip
_row(
    "pixel_lstm_seq2seq", "PixelSeq2Seq", "seq2seq", 212_179,
    "The same from a class; van den Oord et al. (2016), arXiv:1606.05328",
    {"learning_rate": 3e-3}, source_vocabulary_size=11, target_vocabulary_size=19, image_shape=(28, 28, 1),
    hidden_dim=128, num_layers=1,
)  # fmt: skip
_row(
    "pixel_transformer", "PixelLM", "language_model", 130_227,
    "Images pixel by pixel with causal attention, as in Parmar et al. (2018), arXiv:1802.05751, made small",
    vocabulary_size=19, image_shape=(28, 28, 1), decoder="transformer", hidden_dim=64, num_layers=2,
)  # fmt: skip
_row(
    "pixel_transformer_seq2seq", "PixelSeq2Seq", "seq2seq", 136_787,
    "The same from a class; van den Oord et al. (2016), arXiv:1606.05328",
    source_vocabulary_size=11, target_vocabulary_size=19, image_shape=(28, 28, 1), decoder="transformer",
    hidden_dim=64, num_layers=2,
)  # fmt: skip
_row(
    "linear_forecaster", "LinearForecaster", "forecaster", 64_704,
    "Zeng et al. (2022), arXiv:2205.13504 (DLinear), with the normalization of Li et al. (2023), arXiv:2305.10721",
    {"learning_rate": 1e-3, "batch_size": 32, "epochs": 15}, input_shape=(336, 7), output_length=96, kernel_size=25,
)  # fmt: skip
_row(
    "patch_forecaster", "PatchForecaster", "forecaster", 81_728,
    "Nie et al. (2022), arXiv:2211.14730 (PatchTST), the smaller configuration for ETTh1",
    {"learning_rate": 1e-3, "batch_size": 64, "epochs": 20}, input_shape=(336, 7), output_length=96, patch_length=16,
    patch_stride=8, num_layers=3, hidden_dim=16, num_heads=4, intermediate_dim=128, dropout=0.3,
)  # fmt: skip
