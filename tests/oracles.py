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


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(inputs, h, c, kernel, recurrent_kernel, bias, mask=None, keep=1.0, reverse=False):
    """The LSTM of Keras, one position at a time: gates in the order input, forget, candidate, output.

    inputs [B, T, D], h and c [B, U], mask [B, T]; `keep` [B, U] multiplies h before each product with the recurrent
    kernel. Padded positions keep the state and output zeros. Gives the outputs [B, T, U] and the final h and c.
    """
    B, T, _ = inputs.shape
    outputs = np.zeros((B, T, h.shape[1]))
    for t in reversed(range(T)) if reverse else range(T):
        i, f, g, o = np.split(inputs[:, t] @ kernel + bias + (h * keep) @ recurrent_kernel, 4, axis=1)
        c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h_new = sigmoid(o) * np.tanh(c_new)
        valid = np.ones((B, 1), bool) if mask is None else mask[:, t, None]
        h, c = np.where(valid, h_new, h), np.where(valid, c_new, c)
        outputs[:, t] = np.where(valid, h_new, 0)
    return outputs, h, c


def alignment(queries, sequence, mask, key_kernel, query_kernel=None, query_bias=None, energy=None):
    """Attention with one head: additive where there is an `energy` [U], else multiplicative; one pair at a time.

    queries [B, T, Q], sequence [B, S, D], mask [B, S]. Gives the averages [B, T, D] and the weights [B, T, S].
    """
    B, T, S = len(queries), queries.shape[1], sequence.shape[1]
    weights = np.zeros((B, T, S))
    for b in range(B):
        for t in range(T):
            scores = np.full(S, -np.inf)
            for s in np.flatnonzero(mask[b]):
                key = sequence[b, s] @ key_kernel
                if energy is None:
                    scores[s] = queries[b, t] @ key
                else:
                    scores[s] = np.tanh(queries[b, t] @ query_kernel + query_bias + key) @ energy
            weights[b, t] = softmax(scores)
    return np.einsum("bts,bsd->btd", weights, sequence), weights
