"""SQLAlchemy with pgvector-python's types: models, DDL of indexes, distances, aggregates, reflection."""

import numpy as np
import pytest
from pgvector import HalfVector, SparseVector
from pgvector.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR, avg, sum
from sqlalchemy import BigInteger, ClauseElement, Executable, Index, MetaData, create_engine, func, insert, inspect, select
from sqlalchemy import text as statement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
from sqlalchemy.sql import cast

from exact import (BITS, DIMENSIONS, FLAGS, OPERATOR_CLASSES, QUERY, QUERY_FLAGS, ROWS, SEARCHES, VALUES, DISTANCES, assert_close,
                   assert_index_scan, assert_nearest, text)


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id = mapped_column(BigInteger, primary_key=True)
    vector = mapped_column(VECTOR(DIMENSIONS))
    halfvec = mapped_column(HALFVEC(DIMENSIONS))
    sparsevec = mapped_column(SPARSEVEC(DIMENSIONS))
    bit = mapped_column(BIT(BITS))


for type_, operator in SEARCHES:
    name = OPERATOR_CLASSES[type_, operator]
    Index(name, getattr(Item, type_), postgresql_using="hnsw", postgresql_with={"m": 20, "ef_construction": 80},
          postgresql_ops={type_: name})
# Of expressions, as the index of a wide vector at half precision, or by the signs of its elements.
HALF = cast(Item.vector, HALFVEC(DIMENSIONS))
SIGNS = cast(func.binary_quantize(Item.vector), BIT(DIMENSIONS))
Index("half", HALF.label("half"), postgresql_using="hnsw", postgresql_ops={"half": "halfvec_l2_ops"})
Index("signs", SIGNS.label("signs"), postgresql_using="hnsw", postgresql_ops={"signs": "bit_hamming_ops"})

METHODS = {"<->": "l2_distance", "<#>": "max_inner_product", "<=>": "cosine_distance", "<+>": "l1_distance",
           "<~>": "hamming_distance", "<%>": "jaccard_distance"}
NUMBERS = QUERY.astype(np.float32).tolist()
QUERIES = {"vector": NUMBERS, "halfvec": HalfVector(NUMBERS), "sparsevec": SparseVector(NUMBERS), "bit": text(QUERY_FLAGS)}


@pytest.fixture(scope="module")
def engine():
    engine = create_engine("postgresql+psycopg://")
    with engine.begin() as connection:
        connection.execute(statement("CREATE EXTENSION IF NOT EXISTS pg_alopex"))
    Base.metadata.create_all(engine)
    rows = VALUES.astype(np.float32).tolist()
    with Session(engine) as session:
        session.execute(insert(Item), [
            {"id": id_, "vector": row, "halfvec": HalfVector(row), "sparsevec": SparseVector(row), "bit": text(flags)}
            for id_, (row, flags) in enumerate(zip(rows[:-1], FLAGS), 1)])
        session.add(Item(id=ROWS, vector=np.array(rows[-1]), halfvec=rows[-1], sparsevec=rows[-1], bit=text(FLAGS[-1])))
        session.commit()
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine):
    with Session(engine) as session:
        session.execute(statement("SET LOCAL hnsw.ef_search = 1000"))
        session.execute(statement("SET LOCAL enable_seqscan = off"))
        yield session


class Explain(Executable, ClauseElement):
    """A query's plan instead of its answer."""
    inherit_cache = False

    def __init__(self, query):
        self.query = query


@compiles(Explain)
def explain(element, compiler, **options):
    return "EXPLAIN " + compiler.process(element.query, **options)


def test_objects_come_back(session):
    items = session.scalars(select(Item).order_by(Item.id)).all()
    assert len(items) == ROWS
    for item, numbers, flags in zip(items, VALUES.astype(np.float32).tolist(), FLAGS):
        assert list(item.vector) == numbers
        assert item.halfvec == numbers
        assert item.sparsevec == SparseVector(numbers)
        assert item.bit == text(flags)


@pytest.mark.parametrize("search", SEARCHES, ids=" ".join)
def test_nearest(session, search):
    type_, operator = search
    distance = getattr(getattr(Item, type_), METHODS[operator])(QUERIES[type_])
    query = select(Item.id, distance).order_by(distance).limit(10)
    assert_nearest(session.execute(query).all(), search)
    ordered = select(Item.id).order_by(distance).limit(10)
    assert_index_scan(session.scalars(Explain(ordered)), OPERATOR_CLASSES[search])


def test_nearest_by_expressions(session):
    distance = HALF.l2_distance(HalfVector(NUMBERS))
    query = select(Item.id, distance).order_by(distance).limit(10)
    assert_nearest(session.execute(query).all(), ("halfvec", "<->"))
    assert_index_scan(session.scalars(Explain(query)), "half")

    signs = text(QUERY > 0)
    distance = SIGNS.hamming_distance(signs)
    query = select(Item.id, distance).order_by(distance).limit(10)
    exact = ((VALUES > 0) ^ (QUERY > 0)).sum(axis=1)
    found = session.execute(query).all()
    assert [found_distance for _, found_distance in found] == sorted(exact)[:10]
    assert all(exact[id_ - 1] == found_distance for id_, found_distance in found)
    assert_index_scan(session.scalars(Explain(query)), "signs")


def test_rows_within_a_distance(session):
    exact = DISTANCES["vector", "<->"]
    found = session.scalars(select(Item.id).where(Item.vector.l2_distance(NUMBERS) < 3))
    assert set(found) == set(np.flatnonzero(exact < 3) + 1) != set()


def test_aggregates(session):
    mean, total, half = session.execute(select(avg(Item.vector), sum(Item.vector), avg(Item.halfvec))).one()
    numbers = VALUES.astype(np.float64)
    assert_close(mean, numbers.mean(axis=0))
    assert_close(total, numbers.sum(axis=0))
    np.testing.assert_allclose(half, numbers.mean(axis=0), atol=1e-3)


def test_a_change_is_found(session):
    session.get(Item, 7).vector = [50] * DIMENSIONS
    session.flush()
    nearest = select(Item.id).order_by(Item.vector.l2_distance([50] * DIMENSIONS)).limit(1)
    assert session.scalar(nearest) == 7
    session.rollback()


def test_reflection(engine):
    table = MetaData()
    table.reflect(engine)
    columns = table.tables["items"].columns
    assert [(type(columns[name].type), columns[name].type.dim) for name in ("vector", "halfvec", "sparsevec")] == [
        (VECTOR, DIMENSIONS), (HALFVEC, DIMENSIONS), (SPARSEVEC, DIMENSIONS)]
    index, = (index for index in inspect(engine).get_indexes("items") if index["name"] == "vector_l2_ops")
    options = index["dialect_options"]
    assert options["postgresql_using"] == "hnsw"
    assert options["postgresql_with"] == {"m": "20", "ef_construction": "80"}
