"""The names that the tensors of other libraries have, as tables, and which variable of a model each of them is."""

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks

MAX_NAMED = 4  # tensors in an error


@dataclasses.dataclass(frozen=True)
class Row:
    """A variable of a model and the tensors of a file that it is made of.

    Args:
        variable: `keras.Variable`.
        name: string. The variable in reports and errors.
        tensors: tuple of strings. The names of the tensors, which stand side by side in the variable.
        transposed: bool. Whether each tensor is `[outputs, inputs]`, as those of PyTorch are. Defaults to `False`.
        skipped: int. Rows at the beginning of the tensor that the variable lacks. Defaults to `0`.
        cut: bool. Whether the tensor may have more rows than the variable, at its end. Defaults to `False`.
        added: string. A tensor whose first row is added to each row. Defaults to `None`.
    """

    variable: Any
    name: str
    tensors: tuple[str, ...]
    transposed: bool = False
    skipped: int = 0
    cut: bool = False
    added: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that each tensor must have."""
        *rows, width = self.variable.shape
        shape = (*rows, width // len(self.tensors))
        if self.skipped:
            shape = (shape[0] + self.skipped, *shape[1:])
        return shape[::-1] if self.transposed else shape

    def fits(self, shape: Sequence[int]) -> bool:
        """Returns whether a tensor of this shape can be read."""
        if self.cut and len(shape) == len(self.shape):
            return shape[0] >= self.shape[0] and tuple(shape[1:]) == self.shape[1:]
        # A vector may stand in a matrix of one row, as the bias of logits does.
        return tuple(shape) == self.shape or (len(self.shape) == 1 and tuple(shape) == (1, *self.shape))

    def value(self, read: Callable[[str], np.ndarray]) -> np.ndarray:
        """Returns the value of the variable from the tensors that `read` returns."""
        parts = [read(name).T if self.transposed else read(name) for name in self.tensors]
        value = np.concatenate(parts, axis=-1)
        if len(self.variable.shape) < value.ndim:
            value = value[0]
        value = value[self.skipped :][: self.variable.shape[0]]
        return value if self.added is None else value + read(self.added)[0]

    def split(self, value: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the tensors of a value of the variable, which `value` reads back."""
        parts = np.split(value, len(self.tensors), axis=-1)
        if self.skipped:
            parts = [np.concatenate([np.zeros((self.skipped, *part.shape[1:]), part.dtype), part]) for part in parts]
        return {name: np.ascontiguousarray(part.T if self.transposed else part)
                for name, part in zip(self.tensors, parts)}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stack:
    """The names of the tensors of an encoder or decoder with its embedding.

    Args:
        block: string. What the names of a block begin with; `{}` is its number.
        layers: dict. The layers of a block by their path in a block of kerazoo: the modules that each is made of.
        tokens: tuple of strings. The table of token vectors: the first of these names that a file has.
        positions: string. The table of learned positions. Defaults to `None`.
        skipped_positions: int. Rows at the beginning of that table that no position uses. Defaults to `0`.
        types: string. The table of token types, of which all tokens have the first. Defaults to `None`.
        embedding_norm: string. The module that normalizes the embeddings. Defaults to `None`.
        final_norm: string. The module that normalizes the output of the stack. Defaults to `None`.
    """

    block: str
    layers: Mapping[str, tuple[str, ...]]
    tokens: tuple[str, ...]
    positions: str | None = None
    skipped_positions: int = 0
    types: str | None = None
    embedding_norm: str | None = None
    final_norm: str | None = None

    def modules(self, num_layers: int) -> dict[str, tuple[str, ...]]:
        """Returns the modules of each layer of a stack of blocks by its path."""
        named = {
            f"block_{number}/{path}": tuple(f"{self.block.format(number)}{module}" for module in modules)
            for number in range(num_layers)
            for path, modules in self.layers.items()
        }
        return {**named, "final_norm": (self.final_norm,)} if self.final_norm else named


@dataclasses.dataclass(frozen=True)
class Family:
    """An architecture of another library: the names of its tensors and what they need of a model.

    Args:
        name: string. The architecture, such as `"BERT"`.
        types: tuple of strings. The values of `"model_type"` in a `config.json`.
        prefixes: tuple of strings. What all names may begin with.
        encoder: `Stack`, or None.
        decoder: `Stack`, or None.
        needs: dict. Values that options of the stacks must have, and with `"embedding."` those of the embeddings.
        options: function of a `config.json` as a dict. Returns the values that it gives for such options.
        head: dict. The layers of a model's head by their attribute, and the module of each. Defaults to `{}`.
        pooled: dict. The same for a classifier with a pooler. Defaults to `{}`.
        transposed: bool. Whether kernels are `[outputs, inputs]`, as those of PyTorch are. Defaults to `True`.
        bias: string. The bias of the logits. Defaults to `None`.
        copies: dict. Tensors that must equal another one, the first of some names that a file has. Defaults to `{}`.
        unused: string. A regular expression of the tensors that models of kerazoo have no use for. Defaults to `""`.
    """

    name: str
    types: tuple[str, ...]
    prefixes: tuple[str, ...]
    encoder: Stack | None
    decoder: Stack | None
    needs: Mapping[str, Any]
    options: Callable[[Mapping[str, Any]], dict[str, Any]]
    transposed: bool = True
    bias: str | None = None
    head: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pooled: Mapping[str, str] = dataclasses.field(default_factory=dict)
    copies: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    unused: str = ""

    @property
    def mark(self) -> str:
        """The name of a tensor that each file of this family has, and of no other."""
        stack = self.decoder or self.encoder
        if stack is None:
            raise ValueError(f"{self.name} has no stack.")
        path = "attention/query_key_value"
        return f"{stack.block.format(0)}{stack.layers[path][0]}.weight"

    def prefix(self, names: Mapping[str, Any]) -> str | None:
        """Returns what the names of a file begin with, None if the file is of another family."""
        return next((prefix for prefix in self.prefixes if f"{prefix}{self.mark}" in names), None)

    def is_unused(self, name: str) -> bool:
        """Returns whether models of kerazoo have no use for a tensor."""
        return re.fullmatch(self.unused, name) is not None

    def differences(self, model: Any, options: Mapping[str, Any]) -> str:
        """Returns the options in which a model differs from the family or a `config.json`, with the values needed.

        Args:
            model: a built `keras.Model` of kerazoo that has the parts of the family.
            options: mapping. What `self.options` returned; empty without a `config.json`.
        """
        wrong = {}
        for name, stack, embedding in self.parts("", model):
            for option, value in {**self.needs, **options}.items():
                where, _, plain = option.rpartition(".")
                if where in ("encoder", "decoder") and where != name:
                    continue
                given = embedding.get_config() if where == "embedding" else stack.get_config()
                if plain in given and not _equal(given[plain], value):
                    wrong[f"{where or name}.{plain}"] = f"{value!r} and not {_short(given[plain])}"
        return ", ".join(f"{option}={value}" for option, value in wrong.items())

    def parts(self, owner: str, model: Any) -> list[tuple[str, Any, Any]]:
        """Returns name, stack and embedding of the parts of a model that the family has.

        Raises:
            CheckpointError: if the model lacks one.
        """
        found = []
        for name, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            layer = getattr(model, name, None)
            embedding = getattr(model, "source_embedding" if name == "encoder" else "target_embedding", None)
            if stack is None:
                continue
            if not hasattr(layer, "blocks") or not hasattr(embedding, "table"):
                raise _checks.CheckpointError(
                    f"{owner}: holds the {name} of a {self.name} model; {type(model).__name__} has no {name} of "
                    "Transformer blocks over token ids."
                )
            found.append((name, layer, embedding))
        return found

    def rows(self, owner: str, model: Any, prefix: str, names: Collection[str]) -> Iterator[Row]:
        """Yields the rows of a model.

        Args:
            owner: string. The file that messages name.
            model: a built `keras.Model` of kerazoo.
            prefix: string. What all names begin with.
            names: collection of strings. The tensors of the file, or those of the head where one is made.
        """
        tables = set()
        for name, layer, embedding in self.parts(owner, model):
            stack = self.encoder if name == "encoder" else self.decoder
            if stack is None:
                continue
            yield from self._stack_rows(name, layer, stack.modules(len(layer.blocks)), prefix)
            if id(embedding.table) not in tables:  # one for both sides
                tables.add(id(embedding.table))
                tokens = [f"{prefix}{each}" for each in stack.tokens]
                chosen = next((each for each in tokens if each in names), tokens[0])
                yield Row(embedding.table.embeddings, f"{name} embedding/table", (chosen,))
            if stack.positions and hasattr(embedding.add_positions, "table"):
                yield Row(
                    embedding.add_positions.table,
                    f"{name} embedding/positions",
                    (f"{prefix}{stack.positions}",),
                    skipped=stack.skipped_positions,
                    cut=True,
                    added=stack.types and f"{prefix}{stack.types}",
                )
            if stack.embedding_norm and embedding.norm is not None:
                yield from self._layer_rows(f"{name} embedding/norm", embedding.norm.variables,
                                            (f"{prefix}{stack.embedding_norm}",))  # fmt: skip
        if self.bias and getattr(model, "output_bias", None) is not None:
            yield Row(model.output_bias, "output_bias", (self.bias,))
        pooled = self.pooled if getattr(model, "pooler", None) is not None else {}
        for attribute, module in {**self.head, **pooled}.items():
            layer = getattr(model, attribute, None)
            found = next((each for each in (f"{prefix}{module}", module) if f"{each}.weight" in names), None)
            if layer is not None and found:
                yield from self._layer_rows(attribute, layer.variables, (found,))

    def _stack_rows(self, name, layer, modules, prefix):
        """Yields the rows of the variables of a stack; those that no module has are missing in the file."""
        for path, variables in _variables_by_layer(layer).items():
            found = modules.get(path, (f"{name}/{path}",))
            yield from self._layer_rows(f"{name}/{path}", variables, tuple(f"{prefix}{each}" for each in found))

    def _layer_rows(self, name, variables, modules):
        for variable in variables:
            kind = variable.path.rpartition("/")[2]
            ending = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}.get(kind, kind)
            tensors = tuple(f"{module}.{ending}" for module in modules)
            yield Row(variable, f"{name}/{kind}", tensors, transposed=self.transposed and kind == "kernel")


def _variables_by_layer(stack):
    """Returns the weights of each layer of a stack by the path of the layer."""
    found: dict[str, list] = {}
    for variable in stack.weights:
        path = variable.path.removeprefix(f"{stack.path}/").rpartition("/")[0]
        if "seed_generator" not in path:
            found.setdefault(path, []).append(variable)
    return found


def _equal(one, two):
    if isinstance(one, float) and isinstance(two, int | float):
        return abs(one - two) <= 1e-3 * max(abs(one), abs(two))
    return one == two


def _short(value):
    return value if isinstance(value, str | int | float | bool | type(None)) else type(value).__name__
