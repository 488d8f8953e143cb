"""The same mathematics once more in plain NumPy loops, slow and obvious, to compare the layers with."""

import math

import numpy as np


def softmax(x, axis=-1):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def attention(query, key, value, mask=None):
    """Scaled dot-product attention, one head and one query at a time.

    query [B, H, T, K]; key and value [B, G, S, K] where each of the G key/value heads serves H / G query heads in a
    row; mask [B, T, S], True = may attend. Gives the output [B, H, T, K] and the weights [B, H, T, S].
    """
    query, key, value = (np.asarray(x, "float64") for x in (query, key, value))
    B, H, T, K = query.shape
    group = H // key.shape[1]
    output, weights = np.zeros((B, H, T, K)), np.zeros((B, H, T, key.shape[2]))
    for b in range(B):
        for h in range(H):
            for t in range(T):
                scores = key[b, h // group] @ query[b, h, t] / math.sqrt(K)
                if mask is not None:
                    scores = np.where(mask[b, t], scores, -np.inf)
                weights[b, h, t] = softmax(scores)
                output[b, h, t] = weights[b, h, t] @ value[b, h // group]
    return output, weights


def rotate(x, position, base=10000.0):
    """Rotary positions of one vector [K]: the pair (i, i + K/2) turns by position / base^(2i/K)."""
    half = len(x) // 2
    turned = np.zeros(len(x))
    for i in range(half):
        angle = position / base ** (2 * i / len(x))
        turned[i] = x[i] * math.cos(angle) - x[i + half] * math.sin(angle)
        turned[i + half] = x[i] * math.sin(angle) + x[i + half] * math.cos(angle)
    return turned


def gelu(x):
    return np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))(np.asarray(x, "float64"))


def layer_norm(x, scale, shift, epsilon):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * scale + shift
