"""Building blocks: each is useful with nothing else from kerazoo."""

from kerazoo.layers.alignment import AlignmentAttention
from kerazoo.layers.lstm import LSTM
from kerazoo.layers.lstm_decoder import LSTMDecoder
from kerazoo.layers.lstm_encoder import LSTMEncoder
from kerazoo.layers.sequences import causal_mask, last_real, masked_mean, padding_mask, roll, shift_right

__all__ = [
    "LSTM",
    "AlignmentAttention",
    "LSTMDecoder",
    "LSTMEncoder",
    "causal_mask",
    "last_real",
    "masked_mean",
    "padding_mask",
    "roll",
    "shift_right",
]
