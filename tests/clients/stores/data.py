"""The vectors that each store gets, and the nearest of them to a query, exact."""

import psycopg

ROWS, DIMENSIONS = 300, 8
# In the first quadrant and no two in one direction.
VECTORS = [[1.0, i / 50, *(1.0 + i * (d + 3) % 101 / 7 for d in range(DIMENSIONS - 2))] for i in range(ROWS)]
QUERY = VECTORS[17]


def _product(a, b):
    return sum(x * y for x, y in zip(a, b))


def _norm(vector):
    return _product(vector, vector) ** .5


DISTANCES = {
    "l2": lambda vector: _norm([x - y for x, y in zip(vector, QUERY)]),
    "ip": lambda vector: -_product(vector, QUERY),
    "cosine": lambda vector: 1 - _product(vector, QUERY) / _norm(vector) / _norm(QUERY),
}


def nearest(distance, count, among=range(ROWS)):
    """Numbers of the nearest vectors, the nearest first."""
    return sorted(among, key=lambda i: DISTANCES[distance](VECTORS[i]))[:count]


def method_of(index):
    """The access method of an index, if it is there."""
    with psycopg.connect() as connection:
        row = connection.execute("SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relname = %s", [index]).fetchone()
    return row and row[0]


def methods_of(table):
    """The access methods of a table's indexes of vectors."""
    with psycopg.connect() as connection:
        rows = connection.execute("""SELECT amname FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
            WHERE indrelid = %s::regclass AND amname IN ('hnsw', 'ivfflat')""", [table])
        return [name for name, in rows]
