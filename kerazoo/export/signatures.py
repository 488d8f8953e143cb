"""The signatures of an exported model: what each of them takes and returns, and the function behind it."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kerazoo import _checks, decoding
from kerazoo.decoding.choose import token_by_token
from kerazoo.export import generation, steps

# Those that a model may have beside `serving_default` and `serving_files`.
OPTIONAL = ("generate", "score", "embed", "logits", "step")


@dataclasses.dataclass(frozen=True)
class Signature:
    """One signature.

    Args:
        function: callable. From a dict of tensors to a dict of tensors, inside a graph.
        inputs: dict of name to `tf.TensorSpec`.
        about: string. What it is for, in one line.
        defaults: dict of name to value. The inputs that a server may leave out. Defaults to none.
    """

    function: Callable[[dict[str, Any]], dict[str, Any]]
    inputs: Mapping[str, Any]
    about: str
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def traced(self) -> Any:
        """Returns the `tf.function`, traced once for its inputs."""
        import tensorflow as tf

        # The keyword of a signature is the name of the specification, which need not be a name in Python.
        specs = [tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in self.inputs.items()]
        parameters = [
            inspect.Parameter(
                f"input_{number}",
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=tf.constant(self.defaults[name], self.inputs[name].dtype)
                if name in self.defaults
                else inspect.Parameter.empty,
            )
            for number, name in enumerate(self.inputs)
        ]

        def serve(*args, **keywords):
            return self.function(dict(zip(self.inputs, [*args, *keywords.values()])))

        vars(serve)["__signature__"] = inspect.Signature(parameters)
        function = tf.function(serve, input_signature=specs, autograph=False)
        function.get_concrete_function()
        return function


def raw_specs(signature: Mapping[str, tuple[list, str]]) -> dict[str, Any]:
    """Returns the `tf.TensorSpec` of each raw input, with a dynamic batch.

    Args:
        signature: dict of name to the shape without the batch, and the dtype.
    """
    import tensorflow as tf

    return {name: tf.TensorSpec([None, *shape], dtype) for name, (shape, dtype) in signature.items()}


def of_generating(
    model: Any, task: Any, search: decoding.Search, max_length: int, names: Sequence[str]
) -> dict[str, Signature]:
    """Returns the signatures of a model that generates tokens.

    Args:
        model: a built model.
        task: `kerazoo.tasks.Task`.
        search: `kerazoo.decoding.Search`.
        max_length: int. The largest number of tokens of a prediction.
        names: list of strings. Which of `OPTIONAL` are made, where the model has them.
    """
    raw = raw_specs(task.signature)
    graph = generation.GenerationGraph(model, task, max_length, raw)
    ranked = generation.with_several_results(search)
    _check_inputs(task, raw, names, graph.scalar_specs(ranked))
    first = graph.ranked(search)
    seed = generation.seed_of(search)

    def predict(values):
        return graph.best(first({**values, **graph.scalars(search, seed)}))

    found = {"serving_default": Signature(predict, raw, "a prediction for each input")}
    if "generate" in names:
        defaults = graph.defaults(ranked, seed)
        inputs = {**raw, **graph.scalar_specs(ranked)}
        about = f"the {ranked.num_results} best predictions for each input, by {type(ranked).__name__.lower()} search"
        function = first if ranked == search else graph.ranked(ranked)
        found["generate"] = Signature(function, inputs, about, defaults)
    found |= _of_tokens(model, task, raw, names)
    if "embed" in names and hasattr(model, "pool"):
        embed = lambda values: {"vector": model.pool(graph.encoded(values)["encoded"])}  # noqa: E731
        found["embed"] = Signature(embed, raw, "a vector for each input: the mean of what the encoder returns")
    if "step" in names and not task.targets.fills:
        found |= _of_steps(task, graph, steps.StepGraph(model, task, graph, max_length, raw), search)
    return found


def _check_inputs(task, raw, names, options):
    """Raises ValueError if an input of the task has the name of another input of a signature."""
    taken = {"generate": options, "step": ("logits", "tokens", "index")}
    if not task.is_language_model:  # whose texts are no inputs of these
        taken |= {"logits": ("tokens",), "score": ("tokens", *task.targets.scored_names)}
    found = {name: set(raw) & set(taken.get(name, ())) for name in names}
    refused = [f"`{name}`" for name, same in found.items() if same]
    if refused:
        raise ValueError(
            f"export: inputs of the task have the names of other inputs of the signatures {', '.join(refused)}; got "
            f"{', '.join(sorted(set().union(*found.values())))}. Name those to write with `signatures`, without these, "
            "or rename the columns."
        )


def _of_tokens(model, task, raw, names):
    """Returns the signatures that read given targets: `logits` of token ids and `score` of texts."""
    import tensorflow as tf

    target = task.targets
    if not target.scored_names or target.fills or not model.supports_teacher_forcing:
        return {}
    if not {"logits", "score"} & set(names):
        return {}
    inputs = {} if task.is_language_model else raw
    specs = {**inputs, "tokens": tf.TensorSpec([None, None], "int32")}

    def full_pass(values):
        tokens = values["tokens"]
        encoded = {} if task.is_language_model else _inputs(model, task, values)
        return {"logits": tf.cast(model({**encoded, "targets": tokens}, training=False), tf.float32)}

    logits = generation.program(full_pass, specs)
    found = {}
    if "logits" in names:
        found["logits"] = Signature(logits, specs, "the logits of all positions of given token ids")
    if "score" in names:
        strings = {name: tf.TensorSpec([None], "string") for name in target.scored_names}

        def score(values):
            tokens, scored = target.scored_tokens(*(values[name] for name in strings))
            tokens, scored = tokens[:, : model.max_length], scored[:, : model.max_length]
            given = {name: values[name] for name in inputs}
            log_probs = tf.nn.log_softmax(logits({**given, "tokens": tokens})["logits"])  # [B, T, V]
            scores = tf.where(scored, tf.gather(log_probs, tokens, batch_dims=2), 0.0)
            return {"score": tf.reduce_sum(scores, axis=1), "token_scores": scores, "tokens": tokens}

        about = "the log-probability of a given text, and of each of its tokens"
        found["score"] = Signature(score, {**inputs, **strings}, about)
    return found


def _of_steps(task, graph, stepper, search):
    """Returns the signatures with which a caller decodes token by token: `start`, `step`, `choose`, `detokenize`."""
    import tensorflow as tf

    step, seed = generation.program(stepper.step, stepper.specs), generation.seed_of(search)
    search = token_by_token(search)
    choices = graph.choice_specs(step.structured_outputs["logits"].shape[1])
    choose = lambda values: graph.chosen(search, seed, values)  # noqa: E731
    about = f"the token that {type(search).__name__.lower()} search chooses by the logits, and what is generated so far"
    found = {
        "start": Signature(stepper.start, graph.raw, "the caches before the first token"),
        "step": Signature(step, stepper.specs, "the logits of the next token, and the caches after it"),
        "choose": Signature(choose, choices, about),
    }
    if task.targets.modality == "text":
        specs = {"tokens": tf.TensorSpec([None, None], "int32")}
        detokenize = lambda values: task.decode_in_graph(values["tokens"])  # noqa: E731
        found["detokenize"] = Signature(detokenize, specs, "the text of token ids")
    return found


def of_network(
    model: Any,
    task: Any,
    threshold: float | None,
    names: Sequence[str],
    encode: Callable | None = None,
    specs: Mapping[str, Any] | None = None,
) -> dict[str, Signature]:
    """Returns the signatures of a model of one pass, or of a loop over values.

    Args:
        model: a built model.
        task: `kerazoo.tasks.Task`.
        threshold: float. The error of a reconstruction above which an example is an anomaly, or `None`.
        names: list of strings. Which of `OPTIONAL` are made, where the model has them.
        encode: callable. From inputs to those of the model. Defaults to `None`: what the task does with raw inputs.
        specs: dict of name to `tf.TensorSpec`. The inputs. Defaults to `None`: raw inputs.
    """
    import tensorflow as tf

    raw = specs or raw_specs(task.signature)
    to_inputs: Callable = encode or task.encode_packed

    def predict(values):
        inputs = to_inputs(values)
        if isinstance(model, decoding.ContinuousDecodable):
            encoded = model.encode(inputs["source"] if len(inputs) == 1 else inputs, training=False)
            return task.decode_in_graph(decoding.decode_values(model, model.output_length, encoded)["outputs"])
        outputs = tf.cast(model(inputs, training=False), tf.float32)
        found = task.decode_in_graph(task.targets.complete(outputs, inputs))
        if task.is_autoencoder:
            found["error"] = task.targets.reconstruction_errors(outputs, *values.values())
            if threshold is not None:
                found["is_anomaly"] = found["error"] > threshold
        return found

    found = {"serving_default": Signature(predict, raw, "a prediction for each input")}
    if "logits" in names and task.targets.modality == "label":
        logits = lambda values: {"logits": tf.cast(model(to_inputs(values), training=False), tf.float32)}  # noqa: E731
        found["logits"] = Signature(logits, raw, "the logit of each class")
    if "embed" in names:
        found |= _embedders(model, task, raw, to_inputs)
    return found


def _embedders(model, task, raw, encode):
    """Returns the signatures that give a vector for each input."""
    if task.kind == "dual_encoder" and encode == task.encode_packed:
        sides = list(zip(task.input_names, task.inputs))
        return {
            signature: _embedder(model, *side)
            for signature, side in zip(("embed", "embed_target"), sides[:1] if model.is_shared else sides)
        }
    if not hasattr(model, "pool") or task.kind == "dual_encoder":
        return {}

    def embed(values):
        inputs = {name: x for name, x in encode(values).items() if name != "masked_positions"}
        return {"vector": model.pool(model.encode(inputs["source"] if len(inputs) == 1 else inputs, training=False))}

    return {"embed": Signature(embed, raw, "a vector for each input: what the encoder returns, pooled")}


def _embedder(model, name, feature):
    import tensorflow as tf

    def embed(values):
        return {"vector": model.embed({name: feature.encode(values["text"])}, name)}

    return Signature(embed, {"text": tf.TensorSpec([None], "string")}, "the vector of a text, of length one")


def of_files(task: Any, predict: Callable) -> Signature:
    """Returns the signature `serving_files`, which reads the bytes of files.

    Args:
        task: `kerazoo.tasks.Task`.
        predict: callable. The traced function of `serving_default`.
    """
    about = "the same for the bytes of files"

    def serve(values):
        return predict(*task.decode_files(values).values())

    return Signature(serve, raw_specs(task.file_signature), about)


def _inputs(model, task, values):
    """Returns the encoded inputs of a model, cut to its largest number of tokens."""
    limits = model.max_source_lengths
    return {name: tokens[:, : limits.get(name)] for name, tokens in task.encode_packed(values).items()}


def check_names(names: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the names of the optional signatures that are made, all of them for `None`.

    Raises:
        ValueError: if one is none of `OPTIONAL`.
    """
    if names is None:
        return OPTIONAL
    for name in names:
        _checks.one_of("export", "signatures", name, OPTIONAL)
    return tuple(names)
