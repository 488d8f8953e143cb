"""BaseModel: a Keras model whose constructor arguments are its configuration and which can build itself."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from kerazoo import _checks

# Losses of Keras that expect probabilities unless `from_logits=True`; the last one always does.
_PROBABILITY_LOSSES = (
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "sparse_categorical_crossentropy",
    "kl_divergence",
)


class BaseModel(keras.Model):
    """A model whose constructor arguments are its configuration.

    A subclass only takes arguments, which may be plain values, Keras layers or lists of layers. `get_config`,
    `from_config`, saving and loading follow from them. `build_inputs` returns example inputs, so that any caller (the
    catalog, a trainer, a test, an exporter) can build the model.

    Args:
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.
    """

    # Activation of the layer that computes the output, None for logits. Subclasses with such an argument set it.
    head_activation = None

    def __new__(cls, *args, **kwargs):
        check_keras_arguments(cls.__name__, kwargs)
        model = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(model, *args, **kwargs)
        except TypeError:  # the constructor raises a better message
            return model
        bound.apply_defaults()
        kinds = {p.name: p.kind for p in bound.signature.parameters.values()}
        given = dict(list(bound.arguments.items())[1:])
        # Directly into the dictionary: Keras would track layers among the arguments as parts of the model.
        vars(model)["_arguments"] = {n: v for n, v in given.items() if kinds[n] is not inspect.Parameter.VAR_KEYWORD}
        return model

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments as plain values."""
        base = keras.Model.get_config(self)
        return {**base, **{name: _serialized(value) for name, value in vars(self)["_arguments"].items()}}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "BaseModel":
        """Returns a new model from what `get_config` returned."""
        return cls(**{name: _deserialized(value, custom_objects) for name, value in config.items()})

    def build_inputs(self, batch_size: int = 1, length: int = 3) -> dict[str, Any]:
        """Returns inputs of the right shapes and dtypes, NumPy arrays of zeros: `model(model.build_inputs())` works.

        Args:
            batch_size: integer, above 0. Number of examples. Defaults to `1`.
            length: integer, above 0. Number of tokens of each sequence, where the model takes token ids. Defaults to
                `3`.
        """
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        """Creates all weights; the shapes of the inputs come from `build_inputs`."""
        zeros = self.build_inputs(batch_size=2)
        self.compute_output_spec(
            {name: keras.KerasTensor((None, *x.shape[1:]), dtype=str(x.dtype)) for name, x in zeros.items()}
        )

    def build_from_inputs(self) -> None:
        """Creates all weights without computing anything; a built model stays as it is."""
        if not self.built:
            self.build(None)

    def get_build_config(self) -> dict[str, Any] | None:
        """Returns what is needed to build the model again."""
        return {"built": True} if self.built else None

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds the model as it was when it was saved."""
        if config:
            self.build_from_inputs()

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, *args: Any, **kwargs: Any) -> None:
        """Configures the model for training, see `keras.Model.compile`.

        Warns where the loss expects probabilities and the model returns logits, or the other way round: training would
        run and learn nothing.
        """
        for each in keras.tree.flatten(loss):
            _check_logits(self, each)
        super().compile(optimizer, loss, *args, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model as it was when it was saved; Keras does so only for models without a `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)


def check_keras_arguments(owner: str, arguments: Mapping[str, Any]) -> None:
    """Refuses a `name`, `dtype` or `trainable` that `keras.Model` cannot have.

    Args:
        owner: string. The model, used in error messages.
        arguments: dictionary. The arguments of its constructor.
    """
    name, trainable = arguments.get("name"), arguments.get("trainable", True)
    if name is not None and (not isinstance(name, str) or not name or "/" in name):
        raise ValueError(f"{owner}: `name` must be a string of at least one character without '/'; got name={name!r}.")
    if not isinstance(trainable, bool):
        raise TypeError(f"{owner}: `trainable` must be True or False; got trainable={trainable!r}.")
    try:
        keras.dtype_policies.get(arguments.get("dtype"))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{owner}: `dtype` must be a dtype policy of Keras, such as 'float32', 'bfloat16' or 'mixed_bfloat16'; "
            f"got dtype={arguments['dtype']!r}."
        ) from error


def get_input(inputs: Any, name: str, owner: str) -> Any:
    """Returns `inputs[name]`; `inputs` itself where it is no dictionary and `name` is the only input.

    Args:
        inputs: dictionary of tensors, or a tensor.
        name: string. The name of the input.
        owner: string. The model, used in error messages.

    Raises:
        ValueError: if the dictionary lacks `name`.
    """
    if not isinstance(inputs, dict):
        return inputs
    if name not in inputs:
        names = ", ".join(map(repr, inputs)) or "nothing"
        raise ValueError(f"{owner}: inputs must have a part {name!r}; got {names}.{_checks.hint(name, inputs)}")
    return inputs[name]


def optional_input(inputs: Any, name: str) -> Any:
    """Returns `inputs[name]` if `inputs` is a dictionary with that name, else None."""
    return inputs.get(name) if isinstance(inputs, dict) else None


def _serialized(value):
    if isinstance(value, list | tuple) and any(hasattr(item, "get_config") for item in value):
        return [_serialized(item) for item in value]
    return keras.saving.serialize_keras_object(value) if hasattr(value, "get_config") or callable(value) else value


def _deserialized(value, custom_objects):
    if isinstance(value, list):
        return [_deserialized(item, custom_objects) for item in value]
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)
    return value


def _check_logits(model, loss):
    """Warns if `loss` and the activation of the model's head do not go together."""
    head = keras.activations.get(model.head_activation)
    logits, owner = head is keras.activations.linear, type(model).__name__
    expected = keras.losses.get(loss) if isinstance(loss, str) else loss
    from_logits = getattr(expected, "from_logits", None)
    name = getattr(expected, "name", None) or getattr(expected, "__name__", "")
    if logits and name in _PROBABILITY_LOSSES and not from_logits:
        has_argument = "head_activation" in vars(model)["_arguments"]
        warnings.warn(
            f"{owner}: loss={_text(loss)} expects probabilities, but the model returns logits "
            "(head_activation=None); training would go wrong. Pass a loss with from_logits=True"
            + (", or head_activation='sigmoid' or 'softmax'." if has_argument else "."),
            stacklevel=3,
        )
    elif from_logits and head in (keras.activations.sigmoid, keras.activations.softmax):
        warnings.warn(
            f"{owner}: loss={_text(loss)} expects logits, but the model returns probabilities "
            f"(head_activation={head.__name__!r}). Pass a loss with from_logits=False, or head_activation=None.",
            stacklevel=3,
        )


def _text(loss):
    return repr(loss) if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
