"""A Transformer as a model of CTranslate2, which decodes fast on CPUs and in int8."""

import json
import os
import pathlib
import shutil
from typing import Any

import numpy as np
from keras import ops

from kerazoo import _checks, _files
from kerazoo.export import tokenization
from kerazoo.layers import TokenEmbedding, TransformerDecoder, TransformerEncoder
from kerazoo.models import EncoderDecoder, LanguageModel

CONFIG = "kerazoo.json"
DRIVER = "run_ctranslate2.py"
QUANTIZATIONS = ("int8", "int8_float32", "int16", "float16", "bfloat16")
POSITIONS = 1024  # that are written of positions without a limit, at least
# Our activation -> that of CTranslate2, and whether it is gated.
ACTIVATIONS = {
    "relu": ("RELU", False),
    "gelu": ("GELU", False),
    "gelu_tanh": ("GELUTanh", False),
    "silu": ("SWISH", False),
    "swish": ("SWISH", False),
    "tanh": ("Tanh", False),
    "sigmoid": ("Sigmoid", False),
    "swiglu": ("SWISH", True),
    "geglu": ("GELU", True),
}


def unfit(model: Any, task: Any) -> str:
    """Returns why CTranslate2 cannot hold a model, the empty string if it can.

    Args:
        model: a built model.
        task: `kerazoo.tasks.Task`.
    """
    if task.targets.modality != "text" or any(feature.modality != "text" for feature in task.inputs):
        return "it reads and writes texts alone"
    if task.targets.fills:
        return "it does not put what is generated into the gaps of a text"
    if isinstance(model, EncoderDecoder):
        if model.join is not None or not isinstance(model.encoder, TransformerEncoder):
            return "its encoder must be one Transformer"
        if model.pointer is not None:
            return "it copies no tokens of the source"
        if model.encoder.causal or type(model.source_embedding) is not TokenEmbedding:
            return "its encoder must read each token, and those after it"
        if model.encoder.max_position_gap > 1:
            return "its positions must be consecutive"
    elif not isinstance(model, LanguageModel):
        return "it holds encoder-decoders and language models of Transformers"
    if not isinstance(model.decoder, TransformerDecoder) or type(model.target_embedding) is not TokenEmbedding:
        return "its decoder must be a Transformer over tokens"
    stacks = [model.decoder, *([model.encoder] if isinstance(model, EncoderDecoder) else [])]
    for stack in stacks:
        options = stack.get_config()
        if not isinstance(options["activation"], str) or options["activation"] not in ACTIVATIONS:
            return f"its activation must be one of {', '.join(ACTIVATIONS)}, the same in all blocks"
    shared = ("epsilon",)
    if len({tuple(stack.get_config()[name] for name in shared) for stack in stacks}) > 1:
        return "encoder and decoder must have one `epsilon`"
    embeddings = [model.target_embedding, *([model.source_embedding] if isinstance(model, EncoderDecoder) else [])]
    for each in embeddings:
        if each.norm is not None and (each.normalization != stacks[0].options["normalization"]):
            return "its embeddings must be normalized as its blocks are"
    return ""


def export_ctranslate2(
    model: Any, task: Any, directory: str | os.PathLike, quantization: str | None = None, max_length: int | None = None
) -> pathlib.Path:
    """Writes a Transformer as a model of CTranslate2, with its tokenizer and a driver.

    The folder is what `ctranslate2.Translator` or `ctranslate2.Generator` reads; its tokens are the numbers of the
    token ids. `run_ctranslate2.py` in it goes from texts to texts: it imports TensorFlow for the tokenizer, and
    CTranslate2, and nothing of kerazoo.

    Args:
        model: a built Transformer, an `EncoderDecoder` or a `LanguageModel`.
        task: `kerazoo.tasks.Task`.
        directory: string or path. The new folder.
        quantization: string. `"int8"`, `"int8_float32"`, `"int16"`, `"float16"` or `"bfloat16"`. Defaults to `None`:
            float32.
        max_length: int. The largest number of tokens of a prediction. Defaults to the task's.

    Returns:
        The path of the folder.

    Raises:
        ValueError: if CTranslate2 cannot hold the model, or the quantization is unknown.
        SetupError: if the package is missing, or the folder cannot be written.
    """
    reason = unfit(model, task)
    if reason:
        raise ValueError(
            f"export: `format`='ctranslate2' cannot hold this {type(model).__name__}: {reason}. "
            "format='saved_model' holds every model."
        )
    if quantization is not None:
        _checks.one_of("export", "quantize", quantization, QUANTIZATIONS)
    try:
        import ctranslate2  # noqa: F401
    except ModuleNotFoundError as error:
        raise _checks.SetupError('Writing models of CTranslate2 needs: pip install "kerazoo[ctranslate2]"') from error
    spec = _spec(model)
    spec.validate()
    spec.optimize(quantization=quantization)
    with _files.new_folder(directory) as folder:
        spec.save(os.fspath(folder))
        tokenization.write_tokenizer(task, folder)
        config = {
            "kind": "seq2seq" if isinstance(model, EncoderDecoder) else "language_model",
            **{name: int(getattr(model, name)) for name in ("pad_id", "start_id", "end_id")},
            "max_length": int(max_length or task.max_length),
        }
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        shutil.copyfile(pathlib.Path(__file__).parent / DRIVER, folder / DRIVER)
    return pathlib.Path(directory)


def _spec(model):
    """Returns the specification of CTranslate2 with the weights of a model."""
    from ctranslate2.specs import transformer_spec

    decoder = _decoder(model)
    size = model.vocabulary_size
    if isinstance(model, EncoderDecoder):
        spec: Any = transformer_spec.TransformerSpec(_encoder(model), decoder)
        spec.register_source_vocabulary(_tokens(model.source_embedding.vocabulary_size))
        spec.register_target_vocabulary(_tokens(size))
        spec.config.decoder_start_token = str(model.start_id)
    else:
        spec = transformer_spec.TransformerDecoderModelSpec(decoder)
        spec.register_vocabulary(_tokens(size))
    spec.config.bos_token, spec.config.eos_token = str(model.start_id), str(model.end_id)
    spec.config.unk_token = str(model.pad_id)  # which no text has
    spec.config.layer_norm_epsilon = model.decoder.options["epsilon"]
    return spec


def _tokens(size):
    return [str(number) for number in range(size)]


def _options(stack):
    """Returns the arguments of a specification of CTranslate2 for a stack of blocks."""
    from ctranslate2.specs import common_spec

    options = stack.get_config()
    activation, gated = ACTIVATIONS[options["activation"]]
    found = {
        "num_layers": stack.num_layers,
        "num_heads": options["num_heads"],
        "pre_norm": options["norm"] == "pre",
        "activation": getattr(common_spec.Activation, activation),
        "ffn_glu": gated,
        "rms_norm": options["normalization"] == "rms",
        "num_heads_kv": options["num_key_value_heads"],
        "head_dim": options["head_dim"],
    }
    if options["positions"] == "rotary":
        found |= {"rotary_dim": 0, "rotary_interleave": False}
    return found


def _encoder(model):
    from ctranslate2.specs import transformer_spec

    stack, embedding = model.encoder, model.source_embedding
    spec = transformer_spec.TransformerEncoderSpec(**_options(stack), layernorm_embedding=embedding.norm is not None)
    _embed(spec, spec.embeddings[0], embedding)
    blocks = stack.blocks * stack.num_layers if stack.share_layers else stack.blocks
    _stack(spec, stack, blocks)
    return spec


def _decoder(model):
    from ctranslate2.specs import transformer_spec

    stack, embedding = model.decoder, model.target_embedding
    spec = transformer_spec.TransformerDecoderSpec(
        **_options(stack),
        layernorm_embedding=embedding.norm is not None,
        with_encoder_attention=stack.cross_attention,
    )
    _embed(spec, spec.embeddings, embedding)
    _stack(spec, stack, stack.blocks)
    if model.tie_output:
        spec.projection.weight = _array(embedding.table.embeddings)
        if model.output_bias is not None:
            spec.projection.bias = _array(model.output_bias)
    else:
        _dense(spec.projection, model.head)
    return spec


def _embed(spec, embeddings, layer):
    """Sets the table of the tokens, their positions, and what normalizes the sum."""
    embeddings.weight = _array(layer.table.embeddings)
    spec.scale_embeddings = layer.scale
    if hasattr(spec, "position_encodings"):
        spec.position_encodings.encodings = _positions(layer)
    if layer.norm is not None:
        _norm(spec.layernorm_embedding, layer.norm)


def _positions(layer):
    """Returns what an embedding adds at each position, float32 [N, D]."""
    if layer.positions == "learned":
        return _array(layer.add_positions.table)
    zeros = np.zeros((1, max(POSITIONS, layer.max_length or 0), layer.hidden_dim), "float32")
    return zeros[0] if layer.add_positions is None else _array(layer.add_positions(zeros))[0]


def _stack(spec, stack, blocks):
    """Sets the weights of the blocks, and what normalizes their output."""
    for part, block in zip(spec.layer, blocks, strict=True):
        _attention(part.self_attention, [block.attention.joint_projection], block.attention, block.attention_norm)
        if hasattr(part, "attention"):
            cross = block.cross
            _attention(part.attention, [cross.query_projection, cross.joint_projection], cross, block.cross_norm)
        _norm(part.ffn.layer_norm, block.feed_forward_norm)
        _feed_forward(part.ffn, block.feed_forward)
    if stack.final_norm is not None:
        _norm(spec.layer_norm, stack.final_norm)


def _attention(spec, projections, layer, norm):
    for linear, projection in zip(spec.linear, [*projections, layer.output_projection], strict=True):
        _dense(linear, projection)
    _norm(spec.layer_norm, norm)


def _feed_forward(spec, layer):
    kernel, bias = _array(layer.expand.kernel), _array(layer.expand.bias)
    size = layer.intermediate_dim
    spec.linear_0.weight, spec.linear_0.bias = _rows(kernel[:, :size]), bias[:size]
    if layer.gated:
        spec.linear_0_noact.weight, spec.linear_0_noact.bias = _rows(kernel[:, size:]), bias[size:]
    _dense(spec.linear_1, layer.contract)


def _dense(spec, layer):
    spec.weight = _rows(_array(layer.kernel))
    if layer.bias is not None:
        spec.bias = _array(layer.bias)


def _norm(spec, layer):
    if hasattr(spec, "beta"):
        spec.gamma, spec.beta = _array(layer.gamma), _array(layer.beta)
    else:
        spec.gamma = _array(layer.scale)


def _rows(kernel):
    """Returns a kernel [D, U] as CTranslate2 has it, [U, D]."""
    return np.ascontiguousarray(kernel.T)


def _array(weight):
    # Weights in few bits and of low rank are computed when they are converted.
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(weight)), "float32")
