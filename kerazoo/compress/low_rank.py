"""Low rank: kernels and embeddings as the product of two smaller matrices, which hold a share of their energy."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.compress.quantization import described_weights_of, forget_programs, weights_of
from kerazoo.layers.computed_weight import FactorizedWeight


def factorize(model: keras.Model, energy: float = 0.9, layers: str = "") -> list[dict[str, Any]]:
    """Replaces kernels and embeddings of a built model by the product of two matrices, in place.

    The rank of each is the smallest one whose singular values have a share of `energy` of the sum of all squares; a
    weight that gets no smaller by it stays as it is. The matrices are trained like other weights, and dense layers of
    kerazoo multiply by one and then by the other, which takes less time as well. A model is compiled again afterwards,
    for its optimizer has other variables.

    Args:
        model: a built `keras.Model`.
        energy: float in (0, 1). The share of the sum of squares that is kept. Defaults to `0.9`.
        layers: string. A regular expression that is found in the paths of the weights that are replaced. Defaults to
            `""`: all kernels and embeddings of at least 256 values.

    Returns:
        list of dicts of plain values, one for each weight, with its `rank`, or `None`. `prepare_factors` makes another
        model of them that fits the weights of this one.

    Raises:
        ValueError: if `energy` is out of its range, or no weight gets smaller.

    Example:

    ```python
    import keras
    import numpy as np

    import kerazoo as kz

    model = keras.Sequential([keras.Input((64,)), kz.layers.DenseEncoder(32, return_dict=False)])
    print(kz.compress.factorize(model, energy=0.5), model.count_params())
    ```

    Reference:
        Sainath et al. (2013), Low-rank matrix factorization for Deep Neural Network training with high-dimensional
        output targets.
        Lan et al. (2019), ALBERT: A Lite BERT for Self-supervised Learning of Language Representations,
        arXiv:1909.11942 (embeddings).
    """
    _checks.number("factorize", "energy", energy, low=0, high=1, low_open=True, high_open=True)
    found = weights_of(model, "factorize")
    values = [ops.convert_to_numpy(variable.value) for _, variable in found]
    ranks = [
        _rank(value, energy) if re.search(layers, variable.path) else None
        for value, (_, variable) in zip(values, found)
    ]
    if not any(ranks):
        raise ValueError(
            f"factorize: `energy` must be so low that a weight gets smaller; got energy={energy} for {model.name!r}, "
            "whose weights have their energy in more directions."
        )
    described = [{"name": variable.path, "rank": rank} for rank, (_, variable) in zip(ranks, found)]
    for weight, value in zip(_replace(found, ranks), values):
        if weight is not None:
            weight.assign(value)
    forget_programs(model)
    return described


def prepare_factors(model: keras.Model, factors: Sequence[Mapping[str, Any]]) -> None:
    """Gives a built model the matrices that `factorize` made of another one, without their values.

    Args:
        model: a built `keras.Model` of the same configuration.
        factors: list of dicts. What `factorize` returned.

    Raises:
        ValueError: if the model has other weights than these.
    """
    found = described_weights_of(model, "prepare_factors", "factors", factors)
    ranks = [each.get("rank") for each in factors]
    for rank, (_, variable) in zip(ranks, found):
        if rank is not None:
            largest = math.prod(variable.shape) // variable.shape[-1] + variable.shape[-1]
            _checks.not_above("prepare_factors", "rank", _checks.positive_int("prepare_factors", "rank", rank), largest)
    _replace(found, ranks)
    forget_programs(model)


def _replace(found, ranks):
    """Returns the weights that take the place of variables, None where the rank is."""
    weights: list[FactorizedWeight | None] = []
    for (layer, variable), rank in zip(found, ranks):
        weights.append(None if rank is None else FactorizedWeight(variable, rank))
        if weights[-1] is not None:
            weights[-1].replace(layer, variable)
    return weights


def _rank(value, energy):
    """Returns the rank of a share of the energy, None if two matrices of it are not smaller than one."""
    matrix = value.reshape(-1, value.shape[-1])
    shares = np.cumsum(np.linalg.svd(matrix, compute_uv=False) ** 2)
    rank = int(np.searchsorted(shares, energy * shares[-1])) + 1
    return rank if rank * sum(matrix.shape) < matrix.size else None
