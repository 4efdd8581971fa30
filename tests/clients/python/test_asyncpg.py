"""asyncpg with pgvector-python's codecs, which are binary: bulk loading, prepared statements, arrays, searches."""

import asyncio

import asyncpg
import numpy as np
import pytest
from pgvector import HalfVector, SparseVector, Vector
from pgvector.asyncpg import register_vector

from exact import (BITS, DIMENSIONS, FLAGS, OPERATOR_CLASSES, QUERY, QUERY_FLAGS, ROWS, SEARCHES, TYPES, VALUES, assert_close,
                   assert_index_scan, assert_nearest, text)


def value(type_, numbers, flags):
    numbers = numbers.astype(np.float32).tolist()
    make = {"vector": Vector, "halfvec": HalfVector, "sparsevec": SparseVector}
    return asyncpg.BitString(text(flags)) if type_ == "bit" else make[type_](numbers)


def stored(type_, id_):
    return value(type_, VALUES[id_ - 1], FLAGS[id_ - 1])


QUERIES = {type_: value(type_, QUERY, QUERY_FLAGS) for type_ in TYPES}


async def connect():
    connection = await asyncpg.connect()
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_alopex")
    await register_vector(connection)
    return connection


async def load():
    connection = await connect()
    await connection.execute(f"""CREATE TABLE items (id bigint PRIMARY KEY, vector vector({DIMENSIONS}),
        halfvec halfvec({DIMENSIONS}), sparsevec sparsevec({DIMENSIONS}), bit bit({BITS}))""")
    for type_, operator in SEARCHES:
        name = OPERATOR_CLASSES[type_, operator]
        await connection.execute(f"CREATE INDEX {name} ON items USING hnsw ({type_} {name})")
    rows = [(id_, *(stored(type_, id_) for type_ in TYPES)) for id_ in range(1, ROWS + 1)]
    await connection.copy_records_to_table("items", records=rows[:200], columns=["id", *TYPES])
    await connection.executemany("INSERT INTO items VALUES ($1, $2, $3, $4, $5)", rows[200:])
    await connection.close()


@pytest.fixture(scope="module", autouse=True)
def items():
    asyncio.run(load())


def on_server(test):
    """Runs a test with a connection of its own."""
    async def connected(*arguments):
        connection = await connect()
        try:
            await test(connection, *arguments)
        finally:
            await connection.close()
    return lambda *arguments: asyncio.run(connected(*arguments))


def test_every_row_is_stored():
    @on_server
    async def check(connection):
        rows = await connection.fetch(f"SELECT id, {', '.join(TYPES)} FROM items ORDER BY id")
        assert [tuple(row) for row in rows] == [
            (id_, *(stored(type_, id_) for type_ in TYPES)) for id_ in range(1, ROWS + 1)]
    check()


@pytest.mark.parametrize("type_", TYPES[:3])
def test_arrays(type_):
    @on_server
    async def check(connection):
        expected = [stored(type_, 1), None, stored(type_, 2)]
        assert await connection.fetchval(f"SELECT $1::{type_}[]", expected) == expected
    check()


@pytest.mark.parametrize("search", SEARCHES, ids=" ".join)
def test_nearest_by_a_prepared_statement(search):
    type_, operator = search

    @on_server
    async def check(connection):
        await connection.execute("SET hnsw.ef_search = 1000; SET enable_seqscan = off")
        statement = f"SELECT id, {type_} {operator} $1 AS distance FROM items ORDER BY {type_} {operator} $1 LIMIT 10"
        plan = await connection.fetch("EXPLAIN " + statement, QUERIES[type_])
        assert_index_scan([line for line, in plan], OPERATOR_CLASSES[search])
        prepared = await connection.prepare(statement)
        # More often than it takes for a generic plan.
        for _ in range(7):
            assert_nearest([tuple(row) for row in await prepared.fetch(QUERIES[type_])], search)
    check()


def test_a_cursor_reads_the_whole_index_in_order():
    @on_server
    async def check(connection):
        async with connection.transaction():
            await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL hnsw.iterative_scan = strict_order")
            rows = connection.cursor("SELECT id, vector <-> $1 FROM items ORDER BY vector <-> $1", QUERIES["vector"], prefetch=7)
            assert_nearest([tuple(row) async for row in rows], ("vector", "<->"), ROWS)
    check()


def test_aggregates():
    @on_server
    async def check(connection):
        row = await connection.fetchrow("SELECT avg(vector), sum(vector), sum(halfvec) FROM items")
        numbers = VALUES.astype(np.float64)
        assert_close(row[0].to_list(), numbers.mean(axis=0))
        assert_close(row[1].to_list(), numbers.sum(axis=0))
        np.testing.assert_allclose(row[2].to_list(), numbers.sum(axis=0), rtol=2e-3)
    check()


def test_errors_have_their_class():
    @on_server
    async def check(connection):
        with pytest.raises(asyncpg.DataError, match=f"expected {DIMENSIONS} dimensions, not 3"):
            await connection.execute("INSERT INTO items (id, vector) VALUES (0, $1)", Vector([1, 2, 3]))
    check()
