"""Writes the table by which `engines/text_gate.py` tells the windows of a long text apart."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from engines.encoder_source import EncoderSource
from engines.text_gate import GATE_FILE, SCALES, TABLE

DIMENSIONS = 128
"""Of the table, 4 MB for 30,000 tokens. 64 choose nearly as well, 32 worse."""
_LARGEST = 127


def write_gate_table(encoder: EncoderSource, target: Path) -> None:
    """The encoder's embedding table in the folder `target`: less its mean, on its first principal axes, in INT8."""
    table = encoder.weights.get("embeddings.word_embeddings.weight")
    centred = table - table.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred).eigenvectors[:, ::-1][:, :DIMENSIONS]
    rows = centred @ axes
    largest = np.abs(rows).max(axis=1)
    scales = np.where(largest > 0, largest / _LARGEST, 1).astype(np.float32)
    content = {TABLE: np.rint(rows / scales[:, np.newaxis]).astype(np.int8), SCALES: scales}
    (target / GATE_FILE).write_bytes(save(content))
