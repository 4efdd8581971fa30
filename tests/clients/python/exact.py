"""The rows that every client stores, and exact answers to queries over them, computed with NumPy in double precision.

Every row has an id, from 1, and the same numbers as `vector`, `halfvec` and `sparsevec`, besides a `bit`. The numbers are
multiples of 1/16: all three types hold them exactly, and so do their texts. The rows are few enough for an index to answer
exactly with `hnsw.ef_search` = 1000.
"""

import numpy as np

ROWS, DIMENSIONS, BITS, NEAREST = 300, 8, 64, 10

_random = np.random.default_rng(20)
# About half of the numbers are zero, so that the sparse type has something to leave out; no row is.
VALUES = (np.round(_random.normal(size=(ROWS, DIMENSIONS)) * 16) / 16).astype(np.float16)
VALUES[_random.random(VALUES.shape) < 0.5] = 0
VALUES[:, 0] = np.where(VALUES[:, 0] == 0, np.float16(0.5), VALUES[:, 0])
FLAGS = _random.random((ROWS, BITS)) < 0.5
QUERY = (np.round(_random.normal(size=DIMENSIONS) * 16) / 16).astype(np.float16)
QUERY_FLAGS = _random.random(BITS) < 0.5


def _cosine(rows, query):
    return 1 - rows @ query / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query))


_NUMBERS = {
    ("<->", "l2"): lambda rows, query: np.linalg.norm(rows - query, axis=1),
    ("<#>", "ip"): lambda rows, query: -(rows @ query),
    ("<=>", "cosine"): _cosine,
    ("<+>", "l1"): lambda rows, query: np.abs(rows - query).sum(axis=1),
}
_BITS = {
    ("<~>", "hamming"): lambda rows, query: (rows ^ query).sum(axis=1),
    ("<%>", "jaccard"): lambda rows, query: 1 - (rows & query).sum(axis=1) / (rows | query).sum(axis=1),
}

# The distance of each row to the query by (type, operator), and the operator classes that index it.
DISTANCES, OPERATOR_CLASSES = {}, {}
for type_ in ("vector", "halfvec", "sparsevec"):
    for (operator, name), distance in _NUMBERS.items():
        DISTANCES[type_, operator] = distance(VALUES.astype(np.float64), QUERY.astype(np.float64))
        OPERATOR_CLASSES[type_, operator] = f"{type_}_{name}_ops"
for (operator, name), distance in _BITS.items():
    DISTANCES["bit", operator] = distance(FLAGS, QUERY_FLAGS)
    OPERATOR_CLASSES["bit", operator] = f"bit_{name}_ops"
SEARCHES = list(DISTANCES)
TYPES = ("vector", "halfvec", "sparsevec", "bit")


def text(flags):
    """The text of a `bit`."""
    return "".join("01"[int(flag)] for flag in flags)


def assert_nearest(answer, search, count=NEAREST):
    """The rows of `answer`, pairs of id and distance, are the nearest `count`, in order, and at those distances."""
    ids, distances = zip(*answer)
    exact = DISTANCES[search]
    assert len(set(ids)) == count
    np.testing.assert_allclose(distances, exact[np.array(ids) - 1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(distances, np.sort(exact)[:count], rtol=1e-6, atol=1e-6)


def assert_close(vector, expected):
    np.testing.assert_allclose(np.asarray(vector, dtype=np.float64), expected, rtol=1e-5, atol=1e-6)


def assert_index_scan(plan, index):
    """The lines of a plan, in which `index` has to serve the order."""
    plan = "\n".join(plan)
    assert f"Index Scan using {index} " in plan and "Sort" not in plan, plan
