"""Building blocks: each is useful with nothing else from kerazoo."""

from kerazoo.layers.activations import gelu, gelu_tanh
from kerazoo.layers.alignment_attention import AlignmentAttention
from kerazoo.layers.attention import Attention, CrossAttention
from kerazoo.layers.backbone_encoder import BackboneEncoder
from kerazoo.layers.bag_encoder import BagEncoder
from kerazoo.layers.conv_blocks import ConvBlock, SeparableConvBlock, ShuffleBlock, channel_shuffle
from kerazoo.layers.conv_encoder import ConvEncoder
from kerazoo.layers.conv_subsampler import ConvSubsampler
from kerazoo.layers.dense import DenseDecoder, DenseEncoder
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.embedding import TokenEmbedding
from kerazoo.layers.feed_forward import FeedForward
from kerazoo.layers.lstm import LSTM
from kerazoo.layers.lstm_decoder import LSTMDecoder
from kerazoo.layers.lstm_encoder import LSTMEncoder
from kerazoo.layers.masking import (
    causal_mask,
    last_valid,
    masked_mean,
    padding_mask,
    segment_mask,
    segment_positions,
    without_mask,
)
from kerazoo.layers.noise import WordDropout, WordPermutation, WordReplacement
from kerazoo.layers.patch_encoder import PatchEmbedding, PatchEncoder
from kerazoo.layers.pixel_decoder import PixelDecoder
from kerazoo.layers.pointer_generator import PointerGenerator
from kerazoo.layers.pooling import pool
from kerazoo.layers.positions import LearnedPositions, SinusoidalPositions, SinusoidalPositions2D, rotary
from kerazoo.layers.random_shift import RandomShift
from kerazoo.layers.sentence_embedding import SentenceEmbedding
from kerazoo.layers.series_moments import series_moments
from kerazoo.layers.shifting import roll, shift_right, shift_values_right
from kerazoo.layers.spec_augment import SpecAugment
from kerazoo.layers.subsampled_encoder import SubsampledLSTMEncoder, SubsampledTransformerEncoder
from kerazoo.layers.transformer_decoder import TransformerDecoder, TransformerDecoderBlock
from kerazoo.layers.transformer_encoder import TransformerEncoder, TransformerEncoderBlock
from kerazoo.layers.variational_bottleneck import VariationalBottleneck, normal_divergence, sample_normal

__all__ = [
    "AlignmentAttention",
    "Attention",
    "BackboneEncoder",
    "BagEncoder",
    "ConvBlock",
    "ConvEncoder",
    "ConvSubsampler",
    "CrossAttention",
    "DenseDecoder",
    "DenseEncoder",
    "Dropout",
    "FeedForward",
    "LSTM",
    "LSTMDecoder",
    "LSTMEncoder",
    "LearnedPositions",
    "PatchEmbedding",
    "PatchEncoder",
    "PixelDecoder",
    "PointerGenerator",
    "RandomShift",
    "SentenceEmbedding",
    "SeparableConvBlock",
    "ShuffleBlock",
    "SinusoidalPositions",
    "SinusoidalPositions2D",
    "SpecAugment",
    "SubsampledLSTMEncoder",
    "SubsampledTransformerEncoder",
    "TokenEmbedding",
    "TransformerDecoder",
    "TransformerDecoderBlock",
    "TransformerEncoder",
    "TransformerEncoderBlock",
    "VariationalBottleneck",
    "WordDropout",
    "WordPermutation",
    "WordReplacement",
    "causal_mask",
    "channel_shuffle",
    "gelu",
    "gelu_tanh",
    "last_valid",
    "masked_mean",
    "normal_divergence",
    "padding_mask",
    "pool",
    "roll",
    "rotary",
    "sample_normal",
    "segment_mask",
    "segment_positions",
    "series_moments",
    "shift_right",
    "shift_values_right",
    "without_mask",
]
