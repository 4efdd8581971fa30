"""Data sets and their exact neighbors.

A data set is real vectors: rows to index, queries, and fresh rows to insert that are not among the indexed ones. Rows
stay in the file, in the type that they have there, and become float32 a part at a time.
"""

import argparse
import csv
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

K = 10
QUERIES = 1_000
FRESH = 2_000
QUICK_ROWS = 4_000
# Rows whose distances to all queries are computed at a time.
PART = 20_000
FASHION = Path("/usr/share/datasets/fashion-mnist")
WORDS = Path(__file__).parent.parent / "examples/words.csv.gz"
WORDS_ASKED = 500
# Sets that are the first rows of another.
FIRST_ROWS = {"sift128": ("sift1m", 300_000)}

Vectors = tuple[np.ndarray, np.ndarray]


@dataclass
class Dataset:
    name: str
    base: np.ndarray
    queries: np.ndarray
    fresh: np.ndarray

    @cached_property
    def is_cosine(self) -> bool:
        """Rows of unit length, up to the precision they were stored in, are meant for the cosine distance."""
        return bool(np.abs(np.linalg.norm(self.base[:1000].astype(np.float32), axis=1) - 1).max() < 0.01)

    @property
    def metric(self) -> str:
        return "cosine" if self.is_cosine else "L2"

    def facts(self) -> dict:
        rows, dimensions = self.base.shape
        return {
            "set": self.name,
            "rows": rows,
            "dimensions": dimensions,
            "metric": self.metric,
            "queries": len(self.queries),
        }

    def comparable(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors, as float32, whose Euclidean distances have the order of this data set's distances."""
        vectors = vectors.astype(np.float32)
        if not self.is_cosine:
            return vectors
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def parts(self) -> Iterator[tuple[int, np.ndarray]]:
        """The rows in comparable form, a part at a time, each with the number of its first row."""
        for first in range(0, len(self.base), PART):
            yield first, self.comparable(self.base[first : first + PART])

    @cached_property
    def _kth_distance(self) -> np.ndarray:
        """Squared distance of each query to its Kth nearest row: single precision selects, double precision decides."""
        queries = self.comparable(self.queries)
        near, distances = [], []
        for first, part in self.parts():
            of_part = np.einsum("ij,ij->i", part, part) - 2 * queries @ part.T
            rows = _least(of_part, 5 * K)
            near.append(first + rows)
            distances.append(np.take_along_axis(of_part, rows, axis=1))
        near, distances = np.hstack(near), np.hstack(distances)
        near = np.take_along_axis(near, _least(distances, 5 * K), axis=1)
        exact = [self._squared(rows, query) for rows, query in zip(near, queries, strict=True)]
        return np.array([np.partition(distances, K - 1)[K - 1] for distances in exact])

    def _squared(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        return ((self.comparable(self.base[rows]).astype(np.float64) - query) ** 2).sum(axis=1)

    def recall(self, found: list[np.ndarray]) -> float:
        """Share of the K nearest rows found; any row as near as the Kth nearest is a hit."""
        hits = 0
        for query, rows, kth in zip(self.comparable(self.queries), found, self._kth_distance, strict=True):
            hits += int((self._squared(np.unique(rows), query) <= kth * (1 + 1e-6) + 1e-12).sum())
        return hits / (K * len(self.queries))


def _least(values: np.ndarray, count: int) -> np.ndarray:
    """Columns of the least values of each row."""
    if values.shape[1] <= count:
        return np.tile(np.arange(values.shape[1]), (len(values), 1))
    return np.argpartition(values, count, axis=1)[:, :count]


def _idx_images(path: Path) -> np.ndarray:
    with gzip.open(path) as file:
        data = file.read()
    magic, count, height, width = np.frombuffer(data, ">u4", 4)
    if magic != 0x803:
        raise ValueError(f"{path} is not an IDX file of images")
    return np.frombuffer(data, np.uint8, offset=16).reshape(count, height * width)


def _fashion_mnist() -> Vectors:
    return _idx_images(FASHION / "train-images-idx3-ubyte.gz"), _idx_images(FASHION / "t10k-images-idx3-ubyte.gz")


def words() -> Vectors:
    """The words of the examples: some at random are queries, and no rows."""
    with gzip.open(WORDS, "rt") as file:
        vectors = np.array([json.loads(row) for _, row in csv.reader(file)], np.float32)
    asked = np.zeros(len(vectors), bool)
    asked[np.random.default_rng(1).choice(len(vectors), WORDS_ASKED, replace=False)] = True
    return vectors[~asked], vectors[asked]


def sources(directory: Path | None) -> dict[str, Callable[[], Vectors]]:
    """Rows and queries by the names of data sets: Fashion-MNIST comes with Debian, the directory has others."""
    found = {"fashion-mnist": _fashion_mnist}
    for base in sorted(directory.glob("*_base.npy")) if directory else ():
        queries = base.with_name(base.name.replace("_base.npy", "_query.npy"))
        found[base.name.removesuffix("_base.npy")] = lambda paths=(base, queries): tuple(map(_mapped, paths))
    for name, (whole, rows) in FIRST_ROWS.items():
        if whole in found and name not in found:
            found[name] = lambda read=found[whole], rows=rows: (read()[0][:rows], read()[1])
    return found


def _mapped(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r")


def load(directory: Path | None, wanted: list[str], most_rows: int | None) -> Iterator[Dataset]:
    """The wanted data sets (all if none is named) with at most that many rows."""
    found = sources(directory)
    if unknown := set(wanted) - set(found):
        raise SystemExit(f"no data set {' '.join(sorted(unknown))}: there are {' '.join(found)}")
    return (_dataset(name, *found[name](), most_rows) for name in wanted or found)


def load_one(args: argparse.Namespace) -> Dataset:
    """The data set of a part of the benchmark: text384 with data, else Fashion-MNIST, unless another is named."""
    (name,) = args.sets.split() or ["text384" if args.data else "fashion-mnist"]
    (data,) = load(args.data, [name], QUICK_ROWS if args.quick else None)
    return data


def _dataset(name: str, base: np.ndarray, vectors: np.ndarray, most_rows: int | None) -> Dataset:
    base, vectors = base[:most_rows], vectors.astype(np.float32)
    queries, spare = vectors[:QUERIES], vectors[QUERIES : QUERIES + FRESH]
    if most_rows:
        queries = queries[:200]
    return Dataset(name, base, queries, spare if len(spare) else vectors[:FRESH])
