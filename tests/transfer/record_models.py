"""Records what `transformers` computes with small random models, for test_hugging_face.py; needs the extra `peers`.

python tests/transfer/record_models.py
"""

import pathlib

import numpy as np
import torch
import transformers

FOLDER = pathlib.Path(__file__).parent / "hugging_face"
VOCABULARY, WIDTH, HEADS, INNER, POSITIONS = 29, 12, 3, 20, 17
BART = {
    "vocab_size": VOCABULARY, "d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 1,
    "encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS, "encoder_ffn_dim": INNER,
    "decoder_ffn_dim": INNER, "max_position_embeddings": POSITIONS, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 1, "forced_eos_token_id": 2,
}  # fmt: skip
BERT = {
    "vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS,
    "intermediate_size": INNER, "max_position_embeddings": POSITIONS, "pad_token_id": 0,
}  # fmt: skip
SOURCE = [[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]]
TARGETS = [[13, 14, 15, 16], [17, 18, 19, 20]]


def randomize(model):
    """Gives all weights values that make the logits differ."""
    generator = torch.Generator().manual_seed(7)
    tensors = [*model.named_parameters(), *(pair for pair in model.named_buffers() if "final_logits_bias" in pair[0])]
    with torch.no_grad():
        for name, tensor in tensors:
            if "embed_positions" in name and not tensor.requires_grad:
                continue  # sines and cosines
            noise = torch.randn(tensor.shape, generator=generator) * 0.4
            tensor.copy_(noise + (1.0 if "norm" in name.lower() or ".ln_" in name else 0.0) * name.endswith("weight"))
    return model.eval()


def shifted(start):
    return torch.tensor([[start, *row[:-1]] for row in TARGETS])


def models():
    source = torch.tensor(SOURCE)
    given = {"input_ids": source, "attention_mask": (source != 0).long()}
    gpt2 = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=WIDTH, n_layer=2, n_head=HEADS, n_inner=INNER,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    yield "gpt2", transformers.GPT2LMHeadModel(gpt2), lambda m: m(input_ids=shifted(1)).logits
    yield "bert", transformers.BertModel(transformers.BertConfig(**BERT)), lambda m: m(**given).last_hidden_state
    masked = transformers.BertForMaskedLM(transformers.BertConfig(**BERT))
    yield "bert_masked", masked, lambda m: m(**given).logits
    classifier = transformers.BertForSequenceClassification(transformers.BertConfig(**BERT, num_labels=3))
    yield "bert_classifier", classifier, lambda m: m(**given).logits
    two = {**BART, "vocab_size": VOCABULARY - 6, "decoder_vocab_size": VOCABULARY, "activation_function": "relu"}
    separate = transformers.MarianConfig(**two, share_encoder_decoder_embeddings=False)
    yield (
        "marian_separate",
        transformers.MarianMTModel(separate),
        lambda m: m(**given, decoder_input_ids=shifted(1)).logits,
    )
    for name, cls, config in (
        ("marian", transformers.MarianMTModel, transformers.MarianConfig(**BART, scale_embedding=True,
                                                                        activation_function="swish")),
        ("bart", transformers.BartForConditionalGeneration, transformers.BartConfig(**BART)),
    ):  # fmt: skip
        yield name, cls(config), lambda m: m(**given, decoder_input_ids=shifted(1)).logits


def main():
    for name, model, compute in models():
        folder = FOLDER / name
        randomize(model).save_pretrained(folder)
        for file in folder.glob("generation_config.json"):
            file.unlink()
        with torch.no_grad():
            np.savez(folder / "expected.npz", source=SOURCE, targets=TARGETS, outputs=compute(model).numpy())


if __name__ == "__main__":
    main()
