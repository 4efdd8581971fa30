"""Data sets and their exact neighbors.

A data set is real vectors: rows to index, queries, and fresh rows to insert that are not among the indexed ones.
"""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

K = 10
QUERIES = 1_000
FRESH = 2_000
FASHION = Path("/usr/share/datasets/fashion-mnist")


@dataclass
class Dataset:
    name: str
    base: np.ndarray
    queries: np.ndarray
    fresh: np.ndarray

    @cached_property
    def is_cosine(self) -> bool:
        """Rows of unit length, up to the precision they were stored in, are meant for the cosine distance."""
        return bool(np.abs(np.linalg.norm(self.base[:1000], axis=1) - 1).max() < 0.01)

    @property
    def metric(self) -> str:
        return "cosine" if self.is_cosine else "L2"

    def comparable(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors whose Euclidean distances have the order of this data set's distances."""
        if not self.is_cosine:
            return vectors
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    @cached_property
    def _kth_distance(self) -> np.ndarray:
        """Squared distance of each query to its Kth nearest row: single precision selects, double precision decides."""
        base, queries = self.comparable(self.base), self.comparable(self.queries)
        norms = np.einsum("ij,ij->i", base, base)
        kth = np.empty(len(queries))
        for first in range(0, len(queries), 100):
            part = queries[first : first + 100]
            near = np.argpartition(norms - 2 * part @ base.T, 5 * K, axis=1)[:, : 5 * K]
            for i, (query, rows) in enumerate(zip(part, near, strict=True), first):
                kth[i] = np.partition(self._squared(base[rows], query), K - 1)[K - 1]
        return kth

    @staticmethod
    def _squared(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        return ((rows.astype(np.float64) - query) ** 2).sum(axis=1)

    def recall(self, found: list[np.ndarray]) -> float:
        """Share of the K nearest rows found; any row as near as the Kth nearest is a hit."""
        base, queries = self.comparable(self.base), self.comparable(self.queries)
        hits = 0
        for query, rows, kth in zip(queries, found, self._kth_distance, strict=True):
            rows = np.unique(rows)
            hits += int((self._squared(base[rows], query) <= kth * (1 + 1e-6) + 1e-12).sum())
        return hits / (K * len(queries))


def _idx_images(path: Path) -> np.ndarray:
    with gzip.open(path) as file:
        data = file.read()
    magic, count, height, width = np.frombuffer(data, ">u4", 4)
    if magic != 0x803:
        raise ValueError(f"{path} is not an IDX file of images")
    return np.frombuffer(data, np.uint8, offset=16).reshape(count, height * width)


def _fashion_mnist() -> tuple[np.ndarray, np.ndarray]:
    return _idx_images(FASHION / "train-images-idx3-ubyte.gz"), _idx_images(FASHION / "t10k-images-idx3-ubyte.gz")


def load(directory: Path | None, wanted: list[str], most_rows: int | None) -> Iterator[Dataset]:
    """The wanted data sets (all if none is named) with at most that many rows; Fashion-MNIST comes with Debian."""
    sources = {"fashion-mnist": _fashion_mnist}
    for base in sorted(directory.glob("*_base.npy")) if directory else ():
        queries = base.with_name(base.name.replace("_base.npy", "_query.npy"))
        sources[base.name.removesuffix("_base.npy")] = lambda paths=(base, queries): tuple(map(np.load, paths))
    if unknown := set(wanted) - set(sources):
        raise SystemExit(f"no data set {' '.join(sorted(unknown))}: there are {' '.join(sources)}")
    return (_dataset(name, *sources[name](), most_rows) for name in wanted or sources)


def _dataset(name: str, base: np.ndarray, vectors: np.ndarray, most_rows: int | None) -> Dataset:
    base, vectors = base[:most_rows].astype(np.float32), vectors.astype(np.float32)
    queries, spare = vectors[:QUERIES], vectors[QUERIES : QUERIES + FRESH]
    if most_rows:
        queries = queries[:200]
    return Dataset(name, base, queries, spare if len(spare) else vectors[:FRESH])
