"""Folders of Hugging Face: a model made of one, and a model written as one that `transformers` loads."""

import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks, _files
from kerazoo.models import Classifier, DualEncoder, EncoderDecoder, LanguageModel, MaskedLanguageModel, TransformerLM
from kerazoo.models.encoder_model import EncoderModel
from kerazoo.models.seq2seq import TransformerSeq2Seq
from kerazoo.transfer.bart import BART
from kerazoo.transfer.bert import ACTIVATIONS, BERT
from kerazoo.transfer.gpt2 import GPT2
from kerazoo.transfer.loading import CONFIG, FAMILIES, load_weights
from kerazoo.transfer.marian import MARIAN
from kerazoo.transfer.tensor_names import Family

WEIGHTS = "model.safetensors"
TYPES = 2  # rows of BERT's table of token types
CLASSIFIER = "BertForSequenceClassification"
LABELS = 2  # of a configuration that names none
# Which class of `transformers` has the parts of a model.
ARCHITECTURES = {"BERT": "BertModel", "GPT-2": "GPT2LMHeadModel", "Marian": "MarianMTModel",
                 "BART": "BartForConditionalGeneration"}  # fmt: skip
SINUSOIDS = 1024  # positions that a Marian of `transformers` makes; ours have no limit


def load_hugging_face(folder: str | os.PathLike, **options: Any) -> keras.Model:
    """Returns a new model with the sizes and the weights of a folder of Hugging Face.

    GPT-2 becomes a `TransformerLM`, Marian and BART a `TransformerSeq2Seq`, and BERT a `MaskedLanguageModel`, a
    `Classifier` where it has a head for a text, or without a head a `DualEncoder`, whose vectors are means of the
    positions. `load_weights` checks and reads the weights.

    Args:
        folder: string or path. The folder, with `config.json` and `model.safetensors`, or the index of several files.
        **options: arguments of the model that differ, such as `dropout`.

    Raises:
        CheckpointError: if a file is missing or damaged, or of an architecture or form that is not read.
        SetupError: if the package `safetensors` is not installed.
    """
    folder = pathlib.Path(folder)
    try:
        config = json.loads(_files.read_file((folder / CONFIG).resolve(), _files.MAX_RECORD_BYTES))
        families = [family for family in FAMILIES if config["model_type"] in family.types]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise _checks.CheckpointError(f"{folder / CONFIG}: cannot be read as a configuration: {error!r}.") from error
    if not families:
        raise _checks.CheckpointError(
            f"{folder / CONFIG}: must be of one of {', '.join(ARCHITECTURES)}; got {config['model_type']!r:.60}."
        )
    make = {"GPT-2": _language_model, "BERT": _encoder}.get(families[0].name, _seq2seq)
    try:
        model = make(families[0], config, options)
    except (ValueError, TypeError, LookupError) as error:
        raise _checks.CheckpointError(f"{folder / CONFIG}: describes no model that can be made: {error}") from error
    model.build_from_inputs()
    whole = folder / WEIGHTS
    load_weights(model, whole if whole.exists() else folder / f"{WEIGHTS}.index.json")
    return model


def save_hugging_face(model: keras.Model, folder: str | os.PathLike) -> None:
    """Writes a model as a folder of Hugging Face, with which `transformers` computes the same.

    A Transformer language model becomes a GPT-2; a Transformer encoder-decoder a Marian (sinusoidal positions, one
    vocabulary or two) or a BART (learned positions and normalized embeddings); a Transformer encoder with the options
    of BERT a BERT, alone or with a head for masked tokens or for a text (`pooling="first"` and `pooler_dim`). The
    tokenizer is not part of it.

    Args:
        model: A built model of kerazoo.
        folder: string or path. A folder that is missing or empty.

    Raises:
        ValueError: if the model is not built, or no architecture computes what it computes; the message has the
            options that differ.
        SetupError: if the package `safetensors` is not installed, or the folder cannot be written.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("transformer_lm_tiny", vocabulary_size=11, num_layers=1, hidden_dim=8, num_heads=2)
    model.build_from_inputs()
    kz.transfer.save_hugging_face(model, "gpt2")
    again = kz.transfer.load_hugging_face("gpt2")
    assert again.count_params() == model.count_params()
    ```
    """
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise _checks.SetupError('Writing safetensors needs: pip install "kerazoo[weights]"') from error
    if not model.built:
        raise ValueError(f"save_hugging_face: the model must be built first; got {model.name!r}.")
    family, config = _configured(model)
    tensors = {name: np.array(value, "float32") for name, value in _tensors(family, model).items()}
    with _files.new_folder(folder) as temporary:
        content = safetensors.numpy.save(tensors, {"format": "pt"})
        (temporary / WEIGHTS).write_bytes(content)
        (temporary / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


# From a configuration to a model.


def _language_model(family: Family, config: Mapping[str, Any], given: Mapping[str, Any]) -> keras.Model:
    if config.get("scale_attn_by_inverse_layer_idx") or config.get("add_cross_attention"):
        raise ValueError("attention scaled by the layer, and cross-attention, are not read")
    sizes = {
        **family.options(config),
        "vocabulary_size": config.get("vocab_size", 50257),
        "max_length": config.get("n_positions", 1024),
        "dropout": config.get("resid_pdrop", 0.1),
        "start_id": config.get("bos_token_id", 50256),
        "end_id": config.get("eos_token_id", 50256),
    }
    return TransformerLM(**{**sizes, **given})


def _seq2seq(family: Family, config: Mapping[str, Any], given: Mapping[str, Any]) -> keras.Model:
    shared = config.get("share_encoder_decoder_embeddings", True)
    options = family.options(config)
    sizes: dict[str, Any] = {}
    for name in ("num_heads", "intermediate_dim"):
        sizes[name] = options[f"encoder.{name}"]
        if sizes[name] != options[f"decoder.{name}"]:
            raise ValueError(f"encoder and decoder have another {name}")
    size = config.get("vocab_size", 58101)
    sizes |= {
        "source_vocabulary_size": size,
        "target_vocabulary_size": size if shared else config.get("decoder_vocab_size") or size,
        "share_embeddings": shared,
        **{f"num_{side}_layers": options[f"{side}.num_layers"] for side in ("encoder", "decoder")},
        **{name: options[name] for name in ("hidden_dim", "activation", "epsilon")},
        "scale_embeddings": options["embedding.scale"],
        "norm": "post",
        "positions": family.needs["embedding.positions"],
        "embedding_normalization": family.needs["embedding.normalization"] is not None,
        "max_length": config.get("max_position_embeddings", 1024),
        "dropout": config.get("dropout", 0.1),
        "output_bias": True,
        "pad_id": config["pad_token_id"],
        "start_id": config["decoder_start_token_id"],
        "end_id": config["eos_token_id"],
    }
    return TransformerSeq2Seq(**{**sizes, **given})


def _encoder(family: Family, config: Mapping[str, Any], given: Mapping[str, Any]) -> keras.Model:
    from kerazoo.layers import TokenEmbedding, TransformerEncoder

    options = {name: value for name, value in family.options(config).items() if "." not in name}
    pad_id, dropout = config.get("pad_token_id", 0), config.get("hidden_dropout_prob", 0.1)
    encoder = TransformerEncoder(**options, norm="post", dropout=dropout, name="encoder")
    embedding = TokenEmbedding(
        config.get("vocab_size", 30522),
        options["hidden_dim"],
        positions="learned",
        max_length=config.get("max_position_embeddings", 512),
        normalization="layer",
        epsilon=options["epsilon"],
        dropout=dropout,
        pad_id=pad_id or 0,
        name="source_embedding",
    )
    if "BertForMaskedLM" in config.get("architectures", ()):
        if options["activation"] != "gelu":
            raise ValueError(f"a head with the activation {options['activation']} is not read")
        head: dict[str, Any] = {"output_bias": True, "head_epsilon": options["epsilon"]}
        return MaskedLanguageModel(encoder, embedding, **{**head, **given})
    if CLASSIFIER in config.get("architectures", ()):
        rate = config.get("classifier_dropout")
        head = {
            "num_classes": len(config["id2label"]) if "id2label" in config else LABELS,
            "pooling": "first",
            "pooler_dim": options["hidden_dim"],
            "dropout": dropout if rate is None else rate,
        }
        return Classifier(encoder, source_embedding=embedding, **{**head, **given})
    return DualEncoder(encoder, embedding, **given)


# From a model to a configuration.


def _configured(model: keras.Model) -> tuple[Family, dict[str, Any]]:
    """Returns the family that computes what a model computes, and its `config.json`."""
    families: dict[type, tuple[tuple[Family, ...], Callable[[Family, Any], dict]]] = {
        LanguageModel: ((GPT2,), _gpt2_config),
        EncoderDecoder: ((MARIAN, BART), _seq2seq_config),
        EncoderModel: ((BERT,), _bert_config),
    }
    candidates, describe = next((row for cls, row in families.items() if isinstance(model, cls)), ((), _gpt2_config))
    reasons = []
    for family in candidates:
        reason = _unfit(family, model)
        if not reason:
            return family, describe(family, model)
        reasons.append(f"{family.name} needs {reason}")
    raise ValueError(
        f"save_hugging_face: no architecture of Hugging Face computes what {type(model).__name__} computes: "
        f"{'; '.join(reasons) or 'it is none of Transformers over tokens'}."
    )


def _unfit(family: Family, model: Any) -> str:
    """Returns why a model is none of a family, the empty string if it is one."""
    try:
        parts = family.parts("", model)
    except _checks.CheckpointError:
        return f"{' and '.join(name for name in ('encoder', 'decoder') if getattr(family, name))} of Transformer blocks"
    if different := family.differences(model, {}):
        return different
    for name, stack, _ in parts:
        config = stack.get_config()
        if config["num_key_value_heads"] not in (None, config["num_heads"]) or config.get("share_layers"):
            return f"a key and value head for each head and blocks of their own in the {name}"
        if config["activation"] not in ACTIVATIONS.values():
            return f"{name}.activation of {', '.join(dict.fromkeys(ACTIVATIONS.values()))}"
    if family.decoder is not None and not model.tie_output:
        return "tie_output=True"
    if family.encoder is not None and family.decoder is not None:
        embeddings = [embedding for *_, embedding in parts]
        if embeddings[0].table is not embeddings[1].table and family is not MARIAN:
            return "share_embeddings=True"
        if embeddings[0].scale != embeddings[1].scale or model.pointer is not None:
            return "copy=False and one scale_embeddings"
    return _unfit_head(model) if family is BERT else ""


def _unfit_head(model: Any) -> str:
    """Returns why what is above the encoder is not in BERT, the empty string if it is."""
    if isinstance(model, MaskedLanguageModel):
        options = model.encoder.get_config()
        if not model.tie_output or options["activation"] != "gelu" or model.norm.epsilon != options["epsilon"]:
            return "tie_output=True, encoder.activation='gelu', and head_epsilon as encoder.epsilon"
        return ""
    if isinstance(model, Classifier):
        pooled = model.pooler is not None and model.pooler.units == model.encoder.get_config()["hidden_dim"]
        if not pooled or model.pooling != "first" or model.head_activation is not None:
            return "pooling='first', pooler_dim as hidden_dim, and logits"
        return ""
    if not isinstance(model, DualEncoder) or model.projections or not model.is_shared:
        return "a dual encoder without projections, a classifier, or masked tokens: it has no such head"
    return ""


def _gpt2_config(family: Family, model: Any) -> dict[str, Any]:
    options, embedding = model.decoder.get_config(), model.target_embedding
    rate = options["dropout"]
    return {
        **_header(family, "gpt2"),
        "vocab_size": model.vocabulary_size,
        "n_positions": embedding.max_length,
        "n_embd": options["hidden_dim"],
        "n_layer": options["num_layers"],
        "n_head": options["num_heads"],
        "n_inner": options["intermediate_dim"],
        "activation_function": _foreign(options["activation"]),
        "layer_norm_epsilon": options["epsilon"],
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), rate),
        "bos_token_id": model.start_id,
        "eos_token_id": model.end_id,
        "pad_token_id": model.pad_id,
        "tie_word_embeddings": True,
    }


def _seq2seq_config(family: Family, model: Any) -> dict[str, Any]:
    stacks = {"encoder": model.encoder.get_config(), "decoder": model.decoder.get_config()}
    options = stacks["decoder"]
    sides = {}
    for side, each in stacks.items():
        sides |= {
            f"{side}_layers": each["num_layers"],
            f"{side}_attention_heads": each["num_heads"],
            f"{side}_ffn_dim": each["intermediate_dim"],
        }
    return {
        **_header(family, family.types[0]),
        "vocab_size": model.source_embedding.vocabulary_size,
        "d_model": options["hidden_dim"],
        **sides,
        "activation_function": _foreign(options["activation"]),
        "max_position_embeddings": model.target_embedding.max_length or SINUSOIDS,
        "scale_embedding": model.target_embedding.scale,
        "dropout": options["dropout"],
        "attention_dropout": options["dropout"],
        "activation_dropout": 0.0,
        "pad_token_id": model.pad_id,
        "bos_token_id": model.start_id,
        "eos_token_id": model.end_id,
        "decoder_start_token_id": model.start_id,
        "is_encoder_decoder": True,
        "share_encoder_decoder_embeddings": _one_table(model),
        **({} if _one_table(model) else {"decoder_vocab_size": model.vocabulary_size}),
        "tie_word_embeddings": True,
    }


def _one_table(model):
    return model.source_embedding.table is model.target_embedding.table


def _bert_config(family: Family, model: Any) -> dict[str, Any]:
    options, embedding = model.encoder.get_config(), model.source_embedding
    header = _header(family, "bert")
    if isinstance(model, MaskedLanguageModel):
        header["architectures"] = ["BertForMaskedLM"]
    if isinstance(model, Classifier):
        labels = {number: f"LABEL_{number}" for number in range(model.num_classes)}
        header |= {"architectures": [CLASSIFIER], "id2label": labels, "classifier_dropout": model.dropout.rate}
        header["label2id"] = {label: number for number, label in labels.items()}
    return {
        **header,
        "vocab_size": embedding.vocabulary_size,
        "hidden_size": options["hidden_dim"],
        "num_hidden_layers": options["num_layers"],
        "num_attention_heads": options["num_heads"],
        "intermediate_size": options["intermediate_dim"],
        "hidden_act": _foreign(options["activation"]),
        "hidden_dropout_prob": options["dropout"],
        "attention_probs_dropout_prob": options["dropout"],
        "max_position_embeddings": embedding.max_length,
        "type_vocab_size": TYPES,
        "layer_norm_eps": options["epsilon"],
        "pad_token_id": embedding.pad_id,
        "tie_word_embeddings": True,
    }


def _header(family: Family, kind: str) -> dict[str, Any]:
    return {"architectures": [ARCHITECTURES[family.name]], "model_type": kind, "dtype": "float32"}


def _foreign(activation: str) -> str:
    """Returns the name that an activation has in Hugging Face."""
    return next(name for name, ours in ACTIVATIONS.items() if ours == activation)


def _tensors(family: Family, model: Any) -> dict[str, np.ndarray]:
    """Returns the tensors of a model by the names of a family."""
    prefix = family.prefixes[0]
    if isinstance(model, DualEncoder):
        prefix = ""
    heads = {f"{module}.weight" for module in (*family.head.values(), "classifier", f"{prefix}pooler.dense")}
    if family is MARIAN and not _one_table(model):
        heads |= {f"{prefix}{side}.embed_tokens.weight" for side in ("encoder", "decoder")}
    tensors: dict[str, np.ndarray] = {}
    for row in family.rows("", model, prefix, heads):
        tensors |= row.split(np.array(ops.convert_to_numpy(row.variable.value)))
        if row.added:
            tensors[row.added] = np.zeros((TYPES, row.variable.shape[-1]), "float32")
    if family.encoder is not None and family.decoder is not None:
        bias = tensors.get(str(family.bias), np.zeros(model.vocabulary_size, "float32"))
        tensors[str(family.bias)] = bias[None]
    elif isinstance(model, MaskedLanguageModel):
        tensors.setdefault(str(family.bias), np.zeros(model.vocabulary_size, "float32"))
    return tensors
