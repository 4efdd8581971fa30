"""psycopg 3 with pgvector-python's adapters: parameters and results as text and in binary, COPY, arrays, searches, settings."""

import numpy as np
import psycopg
import pytest
from pgvector import Bit, HalfVector, SparseVector, Vector
from pgvector.psycopg import register_vector

from exact import (BITS, DIMENSIONS, FLAGS, OPERATOR_CLASSES, QUERY, QUERY_FLAGS, ROWS, SEARCHES, TYPES, VALUES, assert_close,
                   assert_index_scan, assert_nearest, text)

FORMATS = pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])


def value(type_, numbers, flags):
    """A row's value as the class of that type."""
    numbers = numbers.astype(np.float32).tolist()
    make = {"vector": Vector, "halfvec": HalfVector, "sparsevec": SparseVector}
    return Bit(flags) if type_ == "bit" else make[type_](numbers)


def stored(type_, id_):
    return value(type_, VALUES[id_ - 1], FLAGS[id_ - 1])


def loaded(type_, result):
    """What a result stands for: pgvector-python leaves a `bit` as psycopg reads it."""
    if type_ != "bit":
        return result
    return Bit(result) if isinstance(result, str) else Bit.from_binary(result)


def dimensions(type_):
    return BITS if type_ == "bit" else DIMENSIONS


def shown(type_, numbers, flags):
    """The text of a value, with the fewest digits that read back."""
    digits = [np.format_float_positional(number, trim="-") for number in numbers]
    if type_ == "bit":
        return text(flags)
    if type_ == "sparsevec":
        elements = (f"{index}:{number}" for index, number in enumerate(digits, 1) if number != "0")
        return f"{{{','.join(elements)}}}/{len(digits)}"
    return f"[{','.join(digits)}]"


def query(type_):
    return value(type_, QUERY, QUERY_FLAGS)


def distance(type_, operator, placeholder):
    """The distance of a column to a parameter. In a statement with parameters a percent sign is doubled."""
    return f"{type_} {operator.replace('%', '%%')} {placeholder}"


@pytest.fixture(scope="module")
def server():
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_alopex")
        register_vector(connection)
        connection.execute(f"""CREATE TABLE items (id bigint PRIMARY KEY, vector vector({DIMENSIONS}),
            halfvec halfvec({DIMENSIONS}), sparsevec sparsevec({DIMENSIONS}), bit bit({BITS}))""")
        with connection.cursor().copy(f"COPY items (id, {', '.join(TYPES)}) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8", *TYPES])
            for id_ in range(1, ROWS + 1):
                copy.write_row((id_, *(stored(type_, id_) for type_ in TYPES)))
        for type_, operator in SEARCHES:
            name = OPERATOR_CLASSES[type_, operator]
            index = f"CREATE INDEX {name} ON items USING hnsw ({type_} {name}) WITH (m = 16, ef_construction = 64)"
            connection.execute(index)
        yield connection


@pytest.fixture
def connection(server):
    """Settings that a test makes end with it."""
    with server.transaction(force_rollback=True):
        yield server


def test_binary_copy_stored_every_row(connection):
    rows = connection.execute(f"SELECT id, {', '.join(TYPES)} FROM items ORDER BY id", binary=True).fetchall()
    assert [row[0] for row in rows] == list(range(1, ROWS + 1))
    for id_, *values in rows:
        assert list(map(loaded, TYPES, values)) == [stored(type_, id_) for type_ in TYPES]


@FORMATS
@pytest.mark.parametrize("type_", TYPES)
def test_parameters_and_results(connection, type_, binary):
    placeholder = "%b" if binary else "%t"
    expected = stored(type_, 1)
    statement = f"SELECT v, v::text FROM (SELECT {placeholder}::{type_}({dimensions(type_)}) AS v) q"
    result, as_text = connection.execute(statement, (expected,), binary=binary).fetchone()
    assert loaded(type_, result) == expected
    assert as_text == shown(type_, VALUES[0], FLAGS[0])


@FORMATS
@pytest.mark.parametrize("type_", TYPES[:3])
def test_arrays(connection, type_, binary):
    expected = [stored(type_, 1), stored(type_, 2)]
    result, = connection.execute(f"SELECT %s::{type_}[]", (expected,), binary=binary).fetchone()
    assert result == expected


@FORMATS
def test_copy_in_and_out(connection, binary):
    form = "binary" if binary else "text"
    columns = f"id, {', '.join(TYPES)}"
    connection.execute("CREATE TEMP TABLE copies (LIKE items)")
    cursor = connection.cursor()
    with cursor.copy(f"COPY items ({columns}) TO STDOUT (FORMAT {form})") as out:
        out.set_types(["int8", *TYPES])
        rows = list(out.rows())
    assert len(rows) == ROWS
    with cursor.copy(f"COPY copies ({columns}) FROM STDIN (FORMAT {form})") as copy:
        copy.set_types(["int8", *TYPES])
        for id_, *values in rows:
            copy.write_row((id_, *map(loaded, TYPES, values)))
    assert cursor.execute("SELECT count(*) FROM (TABLE copies EXCEPT TABLE items) q").fetchone() == (0,)
    assert cursor.execute("SELECT count(*) FROM copies").fetchone() == (ROWS,)


@FORMATS
@pytest.mark.parametrize("search", SEARCHES, ids=" ".join)
def test_nearest(connection, search, binary):
    type_, operator = search
    placeholder = "%b" if binary else "%t"
    order = distance(type_, operator, placeholder)
    statement = f"SELECT id, {order} FROM items ORDER BY {order} LIMIT 10"
    parameters = (query(type_), query(type_))
    connection.execute("SET LOCAL hnsw.ef_search = 1000")
    for disabled in ("seqscan", "indexscan"):
        connection.execute(f"SET LOCAL enable_seqscan = on; SET LOCAL enable_{disabled} = off")
        assert_nearest(connection.execute(statement, parameters, binary=binary).fetchall(), search)
        plan = [line for line, in connection.execute("EXPLAIN " + statement, parameters).fetchall()]
        if disabled == "seqscan":
            assert_index_scan(plan, OPERATOR_CLASSES[search])
        else:
            assert any("Seq Scan" in line for line in plan), plan


def test_settings_reach_the_scan(connection):
    statement = "SELECT id, vector <-> %s FROM items ORDER BY vector <-> %s LIMIT 100"
    parameters = (query("vector"), query("vector"))
    connection.execute("SET LOCAL enable_seqscan = off")
    connection.execute("SET LOCAL hnsw.ef_search = 10")
    connection.execute("SET LOCAL hnsw.iterative_scan = off")
    assert 0 < len(connection.execute(statement, parameters).fetchall()) <= 10
    for mode in ("relaxed_order", "strict_order"):
        connection.execute(f"SET LOCAL hnsw.iterative_scan = {mode}")
        rows = connection.execute(statement, parameters).fetchall()
        assert len({id_ for id_, _ in rows}) == 100
    distances = [distance for _, distance in rows]
    assert distances == sorted(distances)


def test_filters_with_iterative_scans(connection):
    """The scan goes on until all the rows that match are found, one in twenty."""
    connection.execute("SET LOCAL enable_seqscan = off")
    connection.execute("SET LOCAL enable_bitmapscan = off")
    connection.execute("SET LOCAL hnsw.ef_search = 5")
    connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
    rows = connection.execute("SELECT id FROM items WHERE id %% 20 = 0 ORDER BY vector <-> %s LIMIT 15", (query("vector"),))
    assert {id_ for id_, in rows} == set(range(20, ROWS + 1, 20))


def test_aggregates(connection):
    rows = connection.execute("SELECT id % 3, avg(vector), sum(vector), avg(halfvec) FROM items GROUP BY 1", binary=True)
    groups = {group: means for group, *means in rows}
    assert set(groups) == {0, 1, 2}
    ids = np.arange(1, ROWS + 1)
    for group, (mean, total, half) in groups.items():
        numbers = VALUES[ids % 3 == group].astype(np.float64)
        assert_close(mean.to_list(), numbers.mean(axis=0))
        assert_close(total.to_list(), numbers.sum(axis=0))
        np.testing.assert_allclose(half.to_list(), numbers.mean(axis=0), atol=1e-3)


@FORMATS
def test_errors_have_their_class(connection, binary):
    placeholder = "%b" if binary else "%t"
    with pytest.raises(psycopg.errors.DataException, match=f"expected {DIMENSIONS} dimensions, not 3"):
        connection.execute(f"INSERT INTO items (id, vector) VALUES (0, {placeholder})", (Vector([1, 2, 3]),))
