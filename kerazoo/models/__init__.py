"""Whole models: layers with a head, `start`, `step` and `generate`. The catalog gives them names and sizes."""

from kerazoo.models.autoencoder import Autoencoder, DenseAutoencoder
from kerazoo.models.classifier import Classifier, MLPClassifier
from kerazoo.models.continuous_encoder_decoder import ContinuousEncoderDecoder
from kerazoo.models.dual_encoder import DualEncoder
from kerazoo.models.encoder_decoder import EncoderDecoder
from kerazoo.models.forecaster import LinearForecaster, PatchForecaster
from kerazoo.models.image_classifier import CNNClassifier
from kerazoo.models.join_encoded import JoinEncoded
from kerazoo.models.language_model import LSTMLM, LanguageModel, TransformerLM
from kerazoo.models.masked_language_model import MaskedLanguageModel
from kerazoo.models.pixel_models import PixelLM, PixelSeq2Seq
from kerazoo.models.segments import check_packing
from kerazoo.models.seq2seq import LSTMSeq2Seq, TransformerSeq2Seq
from kerazoo.models.transformer_classifier import RowEmbedding, TransformerClassifier
from kerazoo.models.variational_autoencoder import DenseVariationalAutoencoder, VariationalAutoencoder

__all__ = [
    "Autoencoder",
    "CNNClassifier",
    "Classifier",
    "ContinuousEncoderDecoder",
    "DenseAutoencoder",
    "DenseVariationalAutoencoder",
    "DualEncoder",
    "EncoderDecoder",
    "JoinEncoded",
    "LSTMLM",
    "LSTMSeq2Seq",
    "LanguageModel",
    "LinearForecaster",
    "MaskedLanguageModel",
    "MLPClassifier",
    "PatchForecaster",
    "PixelLM",
    "PixelSeq2Seq",
    "RowEmbedding",
    "TransformerClassifier",
    "TransformerLM",
    "TransformerSeq2Seq",
    "VariationalAutoencoder",
    "check_packing",
]
