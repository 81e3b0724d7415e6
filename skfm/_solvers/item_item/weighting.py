"""Weights of the entries of rows that are compared, such as tf-idf, and sizes of the rows."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from skfm._kernels.neighbors import COSINE, JACCARD, OVERLAP, PRODUCT
from skfm._utils.plain_state import register_tuple

KINDS = {
    "cosine": COSINE,
    "tfidf": COSINE,
    "bm25": PRODUCT,
    "jaccard": JACCARD,
    "overlap": OVERLAP,
}


@register_tuple
class Weighting(NamedTuple):
    """How rows are weighted, learned from some of them.

    In terms of text retrieval, rows are documents, columns are terms, and values their counts.
    """

    metric: str
    idf: np.ndarray  # (n_columns,)
    mean_total: float  # mean sum of a row, for BM25
    k1: float
    b: float

    @classmethod
    def learn(cls, rows, metric, k1, b):
        n_rows, n_columns = rows.shape
        n_with = np.bincount(rows.indices, minlength=n_columns)
        if metric == "tfidf":
            idf = 1 + np.log((1 + n_rows) / (1 + n_with))
        elif metric == "bm25":
            idf = np.log1p((n_rows - n_with + 0.5) / (n_with + 0.5))
        else:
            idf = np.ones(n_columns)
        mean_total = float(rows.sum(dtype=np.float64)) / n_rows
        return cls(metric, idf.astype(rows.dtype), mean_total, float(k1), float(b))

    @property
    def kind(self):
        return KINDS[self.metric]

    def weigh(self, rows):
        """Weighted rows, and their sizes: lengths or, for sets, numbers of entries."""
        lengths = np.diff(rows.indptr)
        if self.metric in ("jaccard", "overlap"):
            return _with_data(rows, np.ones_like(rows.data)), lengths.astype(rows.dtype)
        data = rows.data
        if self.metric == "bm25":
            total = np.asarray(rows.sum(axis=1, dtype=np.float64)).ravel()
            norm = self.k1 * (1 - self.b + self.b * total / self.mean_total)
            data = data * (self.k1 + 1) / (data + np.repeat(norm, lengths))
        if self.metric in ("tfidf", "bm25"):
            data = data * self.idf[rows.indices]
        weighted = _with_data(rows, data.astype(rows.dtype, copy=False))
        squares = _with_data(rows, weighted.data.astype(np.float64) ** 2)
        sizes = np.sqrt(np.asarray(squares.sum(axis=1)).ravel())
        return weighted, sizes.astype(rows.dtype)


def _with_data(rows, data):
    return sparse.csr_matrix((data, rows.indices, rows.indptr), shape=rows.shape)
