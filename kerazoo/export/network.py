"""The part of a model that computes with numbers alone, as functions for formats without strings."""

from typing import Any

from kerazoo import decoding
from kerazoo.export import generation, steps, tokenization
from kerazoo.export.signatures import Signature, of_network, raw_specs


def reads_strings(task: Any) -> bool:
    """Returns whether the raw inputs of a task are strings, in whose place a network takes token ids."""
    return any(dtype == "string" for _, dtype in task.signature.values())


def network_functions(
    model: Any, task: Any, max_length: int | None = None, source_length: int | None = None
) -> dict[str, Signature]:
    """Returns the functions of a network: `start`, `step` and `generate` of one that generates, else `predict`.

    Where the raw inputs are strings they take what the tokenizer makes of them, else raw inputs. No output is a string:
    a class is given by its `probabilities`.

    Args:
        model: a built model.
        task: `kerazoo.tasks.Task`.
        max_length: int. The largest number of tokens of a prediction. Defaults to the task's.
        source_length: int. The length of sequences, where all shapes are fixed and the batch is one example. Defaults
            to `None`: any batch and length.
    """
    specs = tokenization.encoded_specs(task) if reads_strings(task) else raw_specs(task.signature)
    if source_length is not None:
        specs = {name: _fixed(spec, source_length) for name, spec in specs.items()}
    encode = dict if reads_strings(task) else task.encode_packed
    if not task.targets.generated:
        return _of_one_pass(model, task, specs, encode)
    length = int(max_length or task.max_length or 0)
    graph = generation.GenerationGraph(model, task, length, specs, encode)
    stepper = steps.StepGraph(model, task, graph, length, specs)

    def step(values):
        # A format may not give a name to an input and an output.
        found = stepper.step(values)
        return {f"next_{name}" if name in stepper.specs else name: x for name, x in found.items()}

    def generate(values):
        found = graph.searched(values, decoding.Greedy(), length)
        return {"tokens": found["tokens"][:, 0], "score": found["scores"][:, 0]}

    return {
        "start": Signature(stepper.start, specs, "the caches before the first token"),
        "step": Signature(step, stepper.specs, "the logits of the next token, and the caches after it"),
        "generate": Signature(generate, specs, "the tokens of a greedy search"),
    }


def _fixed(spec, length):
    import tensorflow as tf

    return tf.TensorSpec([1, *(length if size is None else size for size in spec.shape[1:])], spec.dtype)


def _of_one_pass(model, task, specs, encode):
    """Returns the function `predict`, and `embed` where the model has an encoder."""
    import tensorflow as tf

    def without_strings(function):
        return lambda values: {name: x for name, x in function(values).items() if x.dtype != tf.string}

    # The same graphs as those of a SavedModel, over what is a number.
    made = of_network(model, task, None, ("embed",), encode, specs)
    named = {"serving_default": "predict", "embed": "embed", "embed_target": "embed_target"}
    return {
        named[name]: Signature(without_strings(each.function), each.inputs, each.about) for name, each in made.items()
    }
