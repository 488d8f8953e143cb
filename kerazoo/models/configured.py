"""What every model here does alike: its constructor arguments are its configuration, and it can build itself."""

import inspect

import keras
import numpy as np

from kerazoo import _checks


class ConfiguredModel(keras.Model):
    """A model whose constructor arguments are its configuration.

    A subclass only takes arguments, which may be plain values or Keras layers: `get_config`, `from_config`, saving and
    loading come from here. It says in `build_inputs` what it is called with, so that anything that works for all models
    (the catalog, a trainer, a test, an exporter) can build it without knowing what it is.

    Args:
        input_shape: Shape of one source without the batch, for sources that are not token ids. It is needed only by
            `build_inputs`; where nobody gives it, it is that of the first call.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.
    """

    def __new__(cls, *args, **kwargs):
        model = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(model, *args, **kwargs)
        except TypeError:  # the constructor itself says better what is wrong
            return model
        bound.apply_defaults()
        kinds = {p.name: p.kind for p in bound.signature.parameters.values()}
        given = dict(list(bound.arguments.items())[1:])
        # Straight into the dictionary: Keras would take layers among the arguments for parts of the model.
        vars(model)["_arguments"] = {n: v for n, v in given.items() if kinds[n] is not inspect.Parameter.VAR_KEYWORD}
        return model

    def __init__(self, input_shape=None, **kwargs):
        super().__init__(**kwargs)
        self._source_shape = None if input_shape is None else tuple(input_shape)

    def get_config(self):
        """Returns the constructor arguments as plain values."""
        base = keras.Model.get_config(self)
        return {**base, **{name: _plain(value) for name, value in vars(self)["_arguments"].items()}}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Returns a new model for what `get_config` returned."""
        return cls(**{name: _restored(value, custom_objects) for name, value in config.items()})

    def build_inputs(self, batch_size: int = 1, length: int = 3) -> dict:
        """Returns inputs of the right shapes and dtypes, as NumPy arrays of zeros: `model(model.build_inputs())` works.

        Args:
            batch_size: Number of examples.
            length: Number of tokens of sequences, where the model takes token ids.
        """
        raise NotImplementedError

    def build(self, input_shape):
        source = input_shape.get("source") if isinstance(input_shape, dict) else input_shape
        if source is not None:
            self._remember(source)
        zeros = self.build_inputs(batch_size=2)
        self.compute_output_spec(
            {name: keras.KerasTensor((None, *x.shape[1:]), dtype=str(x.dtype)) for name, x in zeros.items()}
        )

    def build_from_inputs(self):
        """Makes all weights without computing anything; a built model stays as it is."""
        if not self.built:
            self.build(None)

    def get_build_config(self):
        """Returns what is needed to build the model again."""
        shape = self._source_shape
        return {"source_shape": None if shape is None else list(shape)} if self.built else None

    def build_from_config(self, config):
        """Builds the model as it was when it was saved."""
        if config:
            shape = config["source_shape"]
            self._source_shape = None if shape is None else tuple(shape)
            self.build_from_inputs()

    def _remember(self, shape):
        """Notes the shape [B, ...] of a source, which only matters where the source is not token ids."""
        if self._source_shape is None:
            self._source_shape = tuple(shape[1:])

    def _empty_source(self, batch_size):
        if self._source_shape is None:
            raise ValueError(
                f"{type(self).__name__}: `input_shape` is needed to build the model before its first call; "
                "got input_shape=None. Pass the shape of one source, or call the model on data."
            )
        return np.zeros((batch_size, *(size or 1 for size in self._source_shape)), "float32")


def part_of(inputs, name, owner):
    """Returns `inputs[name]`, or `inputs` itself where it is the bare tensor."""
    if not isinstance(inputs, dict):
        return inputs
    if name not in inputs:
        known = ", ".join(map(repr, inputs)) or "nothing"
        raise ValueError(f"{owner}: inputs must have a part {name!r}; got {known}.{_checks.hint(name, inputs)}")
    return inputs[name]


def _plain(value):
    return keras.saving.serialize_keras_object(value) if hasattr(value, "get_config") else value


def _restored(value, custom_objects):
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)
    return value
