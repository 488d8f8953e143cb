"""Recipes: steps that make a smaller model of a trained one, written as text."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from kerazoo import _checks, _options
from kerazoo.compress.sparsity import parse_sparsity

# Steps that store the weights in a small format; nothing comes after one of them.
STATIC = "int8_static"
STORED = {"int8": "int8", STATIC: "int8", "int4": "int4", "float16": "float16", "sparse": "float32"}
# Steps that train a new model, and what they compare, an option of the training.
DISTILLED = {"distil": "logits", "distil_sequences": "sequences"}


class Step(NamedTuple):
    """One step of a recipe.

    Args:
        name: string. The name, one of `STEPS`.
        value: string. What stands after the colon; empty for nothing.
    """

    name: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.value}" if self.value else self.name


class StepKind(NamedTuple):
    """What a step is.

    Args:
        about: string. A description in one line.
        check: function of the value, which raises a ValueError. Defaults to `None`: the step takes none.
    """

    about: str
    check: Callable[[str], Any] | None = None


def _split_steps(text):
    """Returns the parts of a recipe between the commas that are outside of all brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _check_model(value):
    name, _, _ = value.partition(":")
    if not name:
        raise ValueError("`recipe`: distil needs the model of the student, such as distil:lstm_seq2seq; got none.")


def _check_energy(value):
    try:
        _checks.number("low_rank", "energy", float(value), low=0, high=1, low_open=True, high_open=True)
    except ValueError:
        raise ValueError(
            f"`recipe`: low_rank needs a number between 0 and 1, such as low_rank:0.9; got {value!r}."
        ) from None


def _check_percentile(value):
    try:
        _checks.number("int8_static", "percentile", float(value or 100), low=50, high=100, low_open=True)
    except ValueError:
        raise ValueError(
            f"`recipe`: int8_static takes a percentage of values above 50, such as int8_static:99.9; got {value!r}."
        ) from None


def parse_sizes(value: str) -> dict[str, Any]:
    """Returns the options of `"OPTION=VALUE;OPTION=VALUE"`; a tuple such as `(32,64)` is one value.

    Raises:
        ValueError: if it has another form.
    """
    return _options.parse_assignments("`recipe`: a size", [part for part in value.split(";") if part])


def _check_sizes(value):
    if not parse_sizes(value):
        raise ValueError("`recipe`: shrink needs sizes, such as shrink:units=64; got none.")


STEPS = {
    "prune": StepKind(
        "sets the smallest weights to zero while it trains: a share, prune:0.8, or prune:2:4",
        lambda value: parse_sparsity("`recipe`: prune", value),
    ),
    "shrink": StepKind("leaves out whole units, channels or heads, and trains: shrink:units=96", _check_sizes),
    "low_rank": StepKind(
        "weights as products of two matrices with a share of their energy, and trains: low_rank:0.9", _check_energy
    ),
    "round": StepKind(
        "trains with rounded weights, before a step that stores them: round:int4,int4",
        lambda value: _checks.one_of("`recipe`: round", "format", value, ("int8", "int4")),
    ),
    "distil": StepKind(
        "trains a new model to predict what the run predicts: distil:MODEL, distil:MODEL:units=64;num_layers=1",
        _check_model,
    ),
    "distil_sequences": StepKind("the same with the answers of a beam search as targets", _check_model),
    "int8": StepKind("weights in 8 bits"),
    STATIC: StepKind(
        "weights in 8 bits, and inputs of layers rounded to 8 bits within ranges of training examples, which a "
        "percentage of the values is inside: int8_static:99.9, or the best of three on dev: int8_static",
        _check_percentile,
    ),
    "int4": StepKind("weights in 4 bits"),
    "float16": StepKind("weights in 16 bits"),
    "sparse": StepKind("weights in 32 bits, of which zeros are not stored"),
}


def parse_recipe(text: str) -> tuple[Step, ...]:
    """Returns the steps of `"NAME,NAME:VALUE,..."`, checked.

    Raises:
        ValueError: if there is no step, a name is unknown, a value is out of its range, or a step comes after one that
            stores the weights in a small format.
    """
    steps = []
    for part in _split_steps(text):
        name, colon, value = (each.strip() for each in part.partition(":"))
        if name not in STEPS:
            raise _checks.unknown("step of `recipe`", name, STEPS, ", ".join(STEPS))
        kind = STEPS[name]
        if kind.check is None and colon:
            raise ValueError(f"`recipe`: {name} takes no value; got {part.strip()!r}.")
        if kind.check is not None:
            kind.check(value)
        if steps and steps[-1].name in STORED:
            raise ValueError(
                f"`recipe`: {steps[-1].name} must be the last step, for weights in a small format do not change any "
                f"more; got {text!r}."
            )
        steps.append(Step(name, value))
    return tuple(steps)


def folder_name(steps: tuple[Step, ...]) -> str:
    """Returns the name of the folder of what some steps make, such as `"prune-0.8+int8"`."""
    return re.sub(r"[^\w.+-]", "-", "+".join(map(str, steps)))
