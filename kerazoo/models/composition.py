"""Models made of any encoders and a decoder or head: `kerazoo.create("conv+lstm", ...)` calls one of these functions.

Each function takes the layers as pairs of a class and its arguments, adds the embeddings that the sources need, and
returns a model of the library: a model of this file has no class of its own.
"""

import functools
import math
from typing import Any

from kerazoo import _checks
from kerazoo.layers import (
    BackboneEncoder,
    BagEncoder,
    ConvEncoder,
    LSTMDecoder,
    LSTMEncoder,
    PatchEncoder,
    TokenEmbedding,
)
from kerazoo.layers.subsampled_encoder import SubsampledEncoder
from kerazoo.models.autoencoder import Autoencoder
from kerazoo.models.classifier import Classifier
from kerazoo.models.continuous_encoder_decoder import ContinuousEncoderDecoder
from kerazoo.models.dual_encoder import DualEncoder
from kerazoo.models.encoder_decoder import EncoderDecoder
from kerazoo.models.masked_language_model import MaskedLanguageModel
from kerazoo.models.transformer_classifier import RowEmbedding
from kerazoo.models.variational_autoencoder import VariationalAutoencoder

# A layer to make: its class and its arguments.
Part = tuple[type, dict[str, Any]]

_POSITIONS = ("sinusoidal", "learned", None)


def encoder_decoder(
    owner: str,
    encoders: list[Part],
    decoder: Part,
    *,
    source_vocabulary_size: Any = None,
    target_vocabulary_size: int | None = None,
    vocabulary_size: int | None = None,
    input_shape: Any = None,
    embedding_dim: int | None = None,
    positions: str | None = "sinusoidal",
    max_length: int | None = None,
    scale_embeddings: bool | None = None,
    embedding_normalization: bool = False,
    share_embeddings: bool = False,
    tie_output: bool = False,
    pad_id: int = 0,
    start_id: int = 1,
    end_id: int = 2,
    **kwargs: Any,
) -> EncoderDecoder:
    """Returns an `EncoderDecoder` of `encoders` and `decoder` with the embeddings that they need.

    Args:
        owner: string. The name of the model, used in error messages.
        encoders: list of pairs of a layer class and a dictionary of its arguments, one for each source.
        decoder: pair of a layer class and a dictionary of its arguments.
        source_vocabulary_size: integer, above 0. Size of the source vocabulary; None where the source is vectors or
            images. A list for several sources. Defaults to `None`.
        target_vocabulary_size: integer, above 0. Size of the target vocabulary. Defaults to `None`, which is refused
            unless `vocabulary_size` is given.
        vocabulary_size: integer, above 0. Another name of `target_vocabulary_size`. Defaults to `None`.
        input_shape: tuple of integers. Shape of one source without the batch, where it is not token ids. A list for
            several sources. Defaults to that of the first call.
        embedding_dim: integer, above 0. Width of the token vectors; that of a Transformer is always its `hidden_dim`.
            Defaults to the width of the layer that reads them.
        positions: `"sinusoidal"`, `"learned"` or None. Positions added to the inputs of layers that have no order of
            their own, and to the outputs of a convolutional encoder of images or series. Rotary positions of a
            Transformer replace them, and those of a part (`encoder.positions`) come first. Defaults to `"sinusoidal"`.
        max_length: integer, above 0. Maximum number of tokens where positions are learned. Defaults to `None`.
        scale_embeddings: boolean. Whether token vectors are multiplied by the square root of their width. Defaults to
            whether a Transformer reads them.
        embedding_normalization: boolean. Whether the sum of a token vector and its position is normalized, as in BERT.
            Defaults to `False`.
        share_embeddings: boolean. Whether source and targets have one vocabulary. Both sides then share one table if
            they need the same embedding. Defaults to `False`.
        tie_output: boolean. Whether the logits use the table of the target embedding. Defaults to `False`.
        pad_id: integer. The padding token. Defaults to `0`.
        start_id: integer. The token before the first one. Defaults to `1`.
        end_id: integer. The token that ends a sequence. Defaults to `2`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Raises:
        ValueError: if the size of the target vocabulary is missing or an argument does not fit the sources.
    """
    target_size = _either(owner, "target_vocabulary_size", target_vocabulary_size, "vocabulary_size", vocabulary_size)
    if target_size is None:
        raise ValueError(
            f"{owner}: `target_vocabulary_size`, the number of target tokens, is needed; got neither it nor "
            "`vocabulary_size`."
        )
    shared = {"embedding_dim": embedding_dim, "positions": positions, "max_length": max_length, "pad_id": pad_id}
    shared |= {"scale": scale_embeddings, "normalized": embedding_normalization}
    encoders = _attended(owner, encoders, source_vocabulary_size, positions)
    sides = _sides(owner, encoders, source_vocabulary_size, input_shape, shared)
    target = _token_options(owner, decoder, target_size, **shared)
    target_embedding = _shared_source(owner, sides, target, target_size) if share_embeddings else None
    return EncoderDecoder(
        **_encoders(encoders, sides, kwargs.get("dtype")),
        decoder=_layer(decoder, "decoder", kwargs.get("dtype")),
        target_embedding=target_embedding
        or TokenEmbedding(**target, name="target_embedding", dtype=kwargs.get("dtype")),
        pad_id=pad_id,
        start_id=start_id,
        end_id=end_id,
        tie_output=tie_output,
        **kwargs,
    )


def continuous_encoder_decoder(
    owner: str,
    encoders: list[Part],
    decoder: Part,
    *,
    num_values: int | None = None,
    output_length: int | None = None,
    quantiles: Any = None,
    stop: bool = False,
    first_values: str = "zeros",
    instance_normalization: bool = False,
    input_dropout: float = 0.0,
    source_vocabulary_size: Any = None,
    vocabulary_size: Any = None,
    input_shape: Any = None,
    embedding_dim: int | None = None,
    positions: str | None = "sinusoidal",
    max_length: int | None = None,
    scale_embeddings: bool | None = None,
    embedding_normalization: bool = False,
    pad_id: int = 0,
    **kwargs: Any,
) -> ContinuousEncoderDecoder:
    """Returns a `ContinuousEncoderDecoder` of `encoders` and `decoder`: the decoder reads values in place of tokens.

    Args:
        num_values: integer, above 0. Width of the vectors that are predicted. Defaults to `None`, which is refused.
        output_length: integer, above 0. Number of positions that are predicted; the largest number with `stop`.
            Defaults to `None`, which is refused.
        quantiles: tuple of floats, in (0, 1) and ascending. The quantiles that are predicted for each value. Defaults
            to `None`: one number for each value.
        stop: boolean. Whether the last output of each position is the logit of the probability that the sequence ends
            with it. Defaults to `False`.
        first_values: `"zeros"`, `"learned"` or `"last"`. The vector before the first position; `"last"` is the last one
            of the source. Defaults to `"zeros"`.
        instance_normalization: boolean. Whether each source, a series, is scaled by its own mean and deviation.
            Defaults to `False`.
        input_dropout: float, in [0, 1). Rate at which the projected values that the decoder reads are dropped in
            training. Defaults to `0.0`.

    The other arguments are those of `encoder_decoder`; `vocabulary_size` is another name of `source_vocabulary_size`.
    """
    for name, value in (("num_values", num_values), ("output_length", output_length)):
        if value is None:
            raise ValueError(f"{owner}: `{name}` is needed; got {name}=None.")
    size = _either(owner, "source_vocabulary_size", source_vocabulary_size, "vocabulary_size", vocabulary_size)
    shared = {"embedding_dim": embedding_dim, "positions": positions, "max_length": max_length, "pad_id": pad_id}
    shared |= {"scale": scale_embeddings, "normalized": embedding_normalization}
    sides = _sides(owner, encoders, size, input_shape, shared)
    return ContinuousEncoderDecoder(
        **_encoders(encoders, sides, kwargs.get("dtype")),
        decoder=_layer(decoder, "decoder", kwargs.get("dtype")),
        num_values=num_values,
        output_length=output_length,
        quantiles=quantiles,
        stop=stop,
        first_values=first_values,
        instance_normalization=instance_normalization,
        input_dropout=input_dropout,
        **kwargs,
    )


def autoencoder(
    owner: str,
    encoders: list[Part],
    decoder: Part,
    *,
    output_size: int | None = None,
    source_vocabulary_size: Any = None,
    vocabulary_size: Any = None,
    input_shape: Any = None,
    embedding_dim: int | None = None,
    positions: str | None = "sinusoidal",
    max_length: int | None = None,
    scale_embeddings: bool | None = None,
    embedding_normalization: bool = False,
    latent_dim: int | None = None,
    beta: float = 1.0,
    free_bits: float = 0.0,
    head_activation: Any = None,
    pad_id: int = 0,
    **kwargs: Any,
) -> Autoencoder:
    """Returns an `Autoencoder` of `encoders` and `decoder`: its output is one vector.

    Args:
        output_size: integer, above 0. Size of the output. Defaults to the size of the source where `input_shape` is
            given.
        latent_dim: integer, above 0. Dimensions of a code that is a random variable; the model is then a
            `VariationalAutoencoder`. Defaults to `None`: the code is what the encoder returns.
        beta: float, at least 0. Factor of the divergence of that code. Defaults to `1.0`.
        free_bits: float, at least 0. Nats of each dimension of that code that cost nothing more. Defaults to `0.0`.
        head_activation: string or callable. Activation of the head; None for logits. Defaults to `None`.

    The other arguments are those of `encoder_decoder`; `vocabulary_size` is another name of `source_vocabulary_size`.
    """
    if output_size is None:
        if input_shape is None or len(encoders) > 1:
            raise ValueError(f"{owner}: `output_size`, the size of the output vector, is needed; got output_size=None.")
        output_size = math.prod(input_shape)
    size = _either(owner, "source_vocabulary_size", source_vocabulary_size, "vocabulary_size", vocabulary_size)
    shared = {"embedding_dim": embedding_dim, "positions": positions, "max_length": max_length, "pad_id": pad_id}
    shared |= {"scale": scale_embeddings, "normalized": embedding_normalization}
    sides = _sides(owner, encoders, size, input_shape, shared)
    code: dict[str, Any] = {}
    if latent_dim is not None:
        code = {"latent_dim": latent_dim, "beta": beta, "free_bits": free_bits}
    return (VariationalAutoencoder if code else Autoencoder)(
        **_encoders(encoders, sides, kwargs.get("dtype")),
        decoder=_layer(decoder, "decoder", kwargs.get("dtype")),
        output_size=output_size,
        head_activation=head_activation,
        **code,
        **kwargs,
    )


# A code of 32 dimensions that is a random variable.
variational_autoencoder = functools.partial(autoencoder, latent_dim=32)


def classifier(
    owner: str,
    encoders: list[Part],
    *,
    num_classes: int | None = None,
    source_vocabulary_size: Any = None,
    vocabulary_size: Any = None,
    input_shape: Any = None,
    embedding_dim: int | None = None,
    positions: str | None = "sinusoidal",
    max_length: int | None = None,
    scale_embeddings: bool | None = None,
    embedding_normalization: bool = False,
    pooling: str = "mean",
    pooler_dim: int | None = None,
    dropout: float = 0.0,
    head_activation: Any = None,
    pad_id: int = 0,
    **kwargs: Any,
) -> Classifier:
    """Returns a `Classifier` of `encoders`.

    Args:
        num_classes: integer, above 0. Number of classes; 1 for a binary classifier with one logit. Defaults to `None`,
            which is refused.
        pooling: `"mean"`, `"max"`, `"last"` or `"first"`. How the valid positions become one vector. Defaults to
            `"mean"`.
        pooler_dim: integer, above 0. Width of a dense layer with tanh after the pooling, as in BERT. Defaults to
            `None`, no layer.
        dropout: float, in [0, 1). Rate before the head. Defaults to `0.0`.
        head_activation: string or callable. Activation of the head; None for logits. Defaults to `None`.

    The other arguments are those of `encoder_decoder`; `vocabulary_size` is another name of `source_vocabulary_size`.
    """
    if num_classes is None:
        raise ValueError(f"{owner}: `num_classes` is needed; got num_classes=None.")
    size = _either(owner, "source_vocabulary_size", source_vocabulary_size, "vocabulary_size", vocabulary_size)
    shared = {"embedding_dim": embedding_dim, "positions": positions, "max_length": max_length, "pad_id": pad_id}
    shared |= {"scale": scale_embeddings, "normalized": embedding_normalization}
    sides = _sides(owner, encoders, size, input_shape, shared)
    return Classifier(
        **_encoders(encoders, sides, kwargs.get("dtype")),
        num_classes=num_classes,
        pooling=pooling,
        pooler_dim=pooler_dim,
        dropout=dropout,
        head_activation=head_activation,
        **kwargs,
    )


def dual_encoder(
    owner: str,
    encoders: list[Part],
    *,
    source_vocabulary_size: Any = None,
    vocabulary_size: Any = None,
    input_shape: Any = None,
    embedding_dim: int | None = None,
    positions: str | None = "sinusoidal",
    max_length: int | None = None,
    scale_embeddings: bool | None = None,
    embedding_normalization: bool = False,
    pooling: str = "mean",
    projection_dim: int | None = None,
    dropout: float = 0.0,
    temperature: float = 0.05,
    trainable_temperature: bool = False,
    pad_id: int = 0,
    **kwargs: Any,
) -> DualEncoder:
    """Returns a `DualEncoder`: one encoder that both sources share, or one for each.

    Args:
        pooling: `"mean"`, `"max"`, `"last"` or `"first"`. How the valid positions become one vector. Defaults to
            `"mean"`.
        projection_dim: integer, above 0. Width of a dense layer after the pooling. Defaults to `None`, no layer.
        dropout: float, in [0, 1). Rate of the pooled vectors. Defaults to `0.0`.
        temperature: float, at least 0.01. What cosines are divided by. Defaults to `0.05`.
        trainable_temperature: boolean. Whether the temperature is a weight. Defaults to `False`.

    The other arguments are those of `encoder_decoder`; `vocabulary_size` is another name of `source_vocabulary_size`.
    Where the encoder is shared, both sources have the same sizes.
    """
    size = _either(owner, "source_vocabulary_size", source_vocabulary_size, "vocabulary_size", vocabulary_size)
    if len(encoders) == 1:
        size, input_shape = _of_both(owner, "source_vocabulary_size", size), _shape_of_both(owner, input_shape)
    shared = {"embedding_dim": embedding_dim, "positions": positions, "max_length": max_length, "pad_id": pad_id}
    shared |= {"scale": scale_embeddings, "normalized": embedding_normalization}
    sides = _sides(owner, encoders, size, input_shape, shared)
    return DualEncoder(
        **_encoders(encoders, sides, kwargs.get("dtype")),
        pooling=pooling,
        projection_dim=projection_dim,
        dropout=dropout,
        temperature=temperature,
        trainable_temperature=trainable_temperature,
        **kwargs,
    )


def masked_language_model(
    owner: str,
    encoders: list[Part],
    *,
    source_vocabulary_size: int | None = None,
    vocabulary_size: int | None = None,
    embedding_dim: int | None = None,
    positions: str | None = "sinusoidal",
    max_length: int | None = None,
    scale_embeddings: bool | None = None,
    embedding_normalization: bool = False,
    tie_output: bool = True,
    output_bias: bool = False,
    head_epsilon: float = 1e-5,
    pad_id: int = 0,
    **kwargs: Any,
) -> MaskedLanguageModel:
    """Returns a `MaskedLanguageModel` of one encoder of tokens.

    Args:
        tie_output: boolean. Whether the logits use the table of the embedding. Defaults to `True`.
        output_bias: boolean. Whether these logits have a bias, as in BERT. Defaults to `False`.
        head_epsilon: float, above 0. Added to the variance by the normalization before the logits. Defaults to `1e-5`.

    The other arguments are those of `encoder_decoder`; `vocabulary_size` is another name of `source_vocabulary_size`.
    """
    size = _either(owner, "source_vocabulary_size", source_vocabulary_size, "vocabulary_size", vocabulary_size)
    if size is None or len(encoders) > 1:
        raise ValueError(
            f"{owner}: needs one encoder and `source_vocabulary_size`, the number of its tokens; got {len(encoders)} "
            f"encoders, source_vocabulary_size={size}."
        )
    shared = {"embedding_dim": embedding_dim, "positions": positions, "max_length": max_length, "pad_id": pad_id}
    shared |= {"scale": scale_embeddings, "normalized": embedding_normalization}
    made = _encoders(encoders, _sides(owner, encoders, size, None, shared), kwargs.get("dtype"))
    head = {"tie_output": tie_output, "output_bias": output_bias, "head_epsilon": head_epsilon}
    return MaskedLanguageModel(made["encoder"], made["source_embedding"], **head, **kwargs)


# One logit: a classifier of two classes for `keras.losses.BinaryCrossentropy`.
binary_classifier = functools.partial(classifier, num_classes=1)


def _either(owner, name, value, other, other_value):
    """Returns the value of an argument that has two names."""
    if value is not None and other_value is not None and value != other_value:
        raise ValueError(f"{owner}: `{name}` and `{other}` mean the same; got {name}={value}, {other}={other_value}.")
    return other_value if value is None else value


def _of_both(owner, argument, value):
    """Returns the one size of two sources that share an encoder."""
    sizes = list(value) if isinstance(value, list | tuple) else [value]
    if any(size != sizes[0] for size in sizes):
        raise ValueError(
            f"{owner}: sources that share an encoder must have one `{argument}`; got {argument}={value!r}. Name an "
            "encoder for each, separated by a comma."
        )
    return sizes[0]


def _shape_of_both(owner, shape):
    """Returns the one shape of two sources that share an encoder, given as a shape or as a list of two."""
    nested = shape is not None and any(isinstance(each, list | tuple) or each is None for each in shape)
    return _of_both(owner, "input_shape", shape) if nested else shape


def _layer(part, name, dtype):
    cls, arguments = part
    return cls(**arguments, name=name, dtype=dtype)


def _attended(owner, encoders, vocabulary_sizes, positions):
    """Returns the parts with the defaults of convolutions that a decoder attends to, over anything but text.

    Their outputs have positions. Their normalization is that of layers: batches hold targets of similar lengths, and
    the images of long targets have other statistics than those of short ones, which no mean over batches represents.
    """
    sizes = _one_for_each(owner, "source_vocabulary_size", vocabulary_sizes, encoders)
    added = {"positions": _checks.one_of(owner, "positions", positions, _POSITIONS)}
    defaults = {ConvEncoder: {**added, "normalization": "layer"}, BackboneEncoder: added}
    return [
        (cls, {**(defaults.get(cls, {}) if size is None else {}), **arguments})
        for (cls, arguments), size in zip(encoders, sizes)
    ]


def _sides(owner, encoders, vocabulary_sizes, shapes, shared):
    """Returns for each source its shape and the embedding that its encoder needs, as a class and its arguments."""
    sizes = _one_for_each(owner, "source_vocabulary_size", vocabulary_sizes, encoders)
    shapes = _one_for_each(owner, "input_shape", shapes, encoders)
    sides = []
    for part, size, shape in zip(encoders, sizes, shapes):
        if issubclass(part[0], PatchEncoder | BackboneEncoder):
            _refuse_tokens(owner, part, size)
            sides.append((shape, None))
        elif size is not None:
            sides.append((None, (TokenEmbedding, _token_options(owner, part, size, **shared))))
        elif issubclass(part[0], SubsampledEncoder):  # it adds positions itself, after it shortened the sequence
            sides.append((shape, None))
        elif "hidden_dim" in part[1]:
            options = {"hidden_dim": part[1]["hidden_dim"], "positions": _positions(owner, part, shared["positions"])}
            sides.append((shape, (RowEmbedding, {**options, "dropout": part[1].get("dropout", 0.0)})))
        elif issubclass(part[0], LSTMEncoder) and shape is not None and len(shape) == 3:  # an image, read by rows
            sides.append((shape, (RowEmbedding, {"hidden_dim": _width(part), "positions": None})))
        else:
            sides.append((shape, None))
    return sides


def _refuse_tokens(owner, part, vocabulary_size):
    if vocabulary_size is not None:
        raise ValueError(
            f"{owner}: {part[0].__name__} reads images, and a source is token ids; got source_vocabulary_size="
            f"{vocabulary_size}. Try the encoder transformer or lstm for it."
        )


def _one_for_each(owner, argument, value, encoders):
    """Returns the list of an argument's values, one for each source."""
    if len(encoders) == 1:
        if isinstance(value, list | tuple) and len(value) == 1 and argument == "source_vocabulary_size":
            return list(value)
        return [value]
    if value is None:
        return [None] * len(encoders)
    if not isinstance(value, list | tuple) or len(value) != len(encoders):
        raise ValueError(
            f"{owner}: `{argument}` must be a list of {len(encoders)}, one for each source, with None where it does "
            f"not apply; got {argument}={value!r}."
        )
    return list(value)


def _encoders(encoders, sides, dtype):
    """Returns the arguments `encoder`, `source_embedding` and `input_shape` of a model."""
    layers, embeddings, shapes = [], [], []
    for index, (part, (shape, embedding)) in enumerate(zip(encoders, sides)):
        number = f"_{index + 1}" if index else ""
        layers.append(_layer(part, f"encoder{number}", dtype))
        embeddings.append(embedding and _layer(embedding, f"source{number}_embedding", dtype))
        shapes.append(shape)
    if len(encoders) == 1:
        return {"encoder": layers[0], "source_embedding": embeddings[0], "input_shape": shapes[0]}
    return {"encoder": layers, "source_embedding": embeddings, "input_shape": shapes}


def _token_options(owner, part, vocabulary_size, *, embedding_dim, positions, max_length, scale, normalized, pad_id):
    """Returns the arguments of the `TokenEmbedding` that a layer needs."""
    transformer = "hidden_dim" in part[1]
    positions = _positions(owner, part, positions)
    return {
        "vocabulary_size": vocabulary_size,
        "hidden_dim": part[1]["hidden_dim"] if transformer else embedding_dim or _width(part),
        "scale": transformer if scale is None else bool(scale),
        "positions": positions,
        "max_length": max_length if positions == "learned" else None,
        "normalization": ("rms" if part[1].get("normalization") == "rms" else "layer") if normalized else None,
        "epsilon": part[1].get("epsilon", 1e-5),
        "dropout": part[1].get("dropout", 0.0) if transformer else 0.0,
        "pad_id": pad_id,
    }


def _positions(owner, part, positions):
    """Returns the positions to add to the inputs of a layer, None for a layer that has an order of its own."""
    _checks.one_of(owner, "positions", positions, _POSITIONS)
    unordered = issubclass(part[0], LSTMEncoder | LSTMDecoder | BagEncoder)
    return None if unordered or part[1].get("positions") == "rotary" else positions


def _width(part):
    """Returns the width of the inputs of a layer that takes any width: that of its first outputs."""
    units = part[1].get("units", part[1].get("filters"))
    return units if isinstance(units, int) else units[0]


def _shared_source(owner, sides, target, vocabulary_size):
    """Returns the name of the first source that needs the same embedding as the targets, None if there is none."""
    tokens = [options for _, (cls, options) in (side for side in sides if side[1]) if cls is TokenEmbedding]
    if all(options["vocabulary_size"] != vocabulary_size for options in tokens):
        raise ValueError(
            f"{owner}: `share_embeddings` needs one vocabulary for source and targets; got share_embeddings=True, "
            f"source vocabularies of {[options['vocabulary_size'] for options in tokens]} tokens, "
            f"target_vocabulary_size={vocabulary_size}. Try share_embeddings=False."
        )
    for index, (_, embedding) in enumerate(sides):
        if embedding == (TokenEmbedding, target):
            return "source" if index == 0 else f"source_{index + 1}"
    return None
