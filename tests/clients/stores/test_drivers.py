"""pgvector-python as it is now, where it returns vectors of its own, with SQLModel, Peewee, psycopg2 and pg8000."""

import os

import peewee
import pg8000.native
import psycopg
import psycopg2
import pytest
from pgvector import HalfVector, SparseVector, Vector
from pgvector.peewee import HalfVectorField, SparseVectorField, VectorField
from pgvector.pg8000 import register_vector as register_pg8000
from pgvector.psycopg2 import register_vector as register_psycopg2
from pgvector.sqlalchemy import HALFVEC, SPARSEVEC, VECTOR
from sqlmodel import Field, Index, Session, SQLModel, create_engine, select

from data import DIMENSIONS, QUERY, ROWS, VECTORS, method_of, nearest

# Half precision and single precision hold these exactly.
VALUES = [[round(x * 8) / 8 for x in vector] for vector in VECTORS]


@pytest.fixture(autouse=True, scope="module")
def extension():
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")


class Item(SQLModel, table=True):
    __tablename__ = "items_sqlmodel"
    __table_args__ = (
        Index("sqlmodel_vector", "vector", postgresql_using="hnsw", postgresql_ops={"vector": "vector_l2_ops"}),
        Index("sqlmodel_lists", "vector", postgresql_using="ivfflat", postgresql_with={"lists": 5},
              postgresql_ops={"vector": "vector_cosine_ops"}),
    )
    id: int = Field(primary_key=True)
    vector: Vector = Field(sa_type=VECTOR(DIMENSIONS))
    halfvec: HalfVector = Field(sa_type=HALFVEC(DIMENSIONS))
    sparsevec: SparseVector = Field(sa_type=SPARSEVEC(DIMENSIONS))
    model_config = {"arbitrary_types_allowed": True}


def test_sqlmodel():
    engine = create_engine("postgresql+psycopg://")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        for i, value in enumerate(VECTORS):
            session.add(Item(id=i, vector=value, halfvec=HalfVector(VALUES[i]), sparsevec=SparseVector(VALUES[i])))
        session.commit()
        session.connection().exec_driver_sql("SET hnsw.ef_search = 400; SET enable_seqscan = off")
        for distance, compare in [("l2", Item.vector.l2_distance), ("cosine", Item.vector.cosine_distance)]:
            assert session.exec(select(Item.id).order_by(compare(QUERY)).limit(10)).all() == nearest(distance, 10)
        row = session.get(Item, 17)
        assert (row.halfvec, row.sparsevec.to_list()) == (VALUES[17], VALUES[17])
    assert (method_of("sqlmodel_vector"), method_of("sqlmodel_lists")) == ("hnsw", "ivfflat")
    engine.dispose()


def test_peewee():
    database = peewee.PostgresqlDatabase(os.environ["PGDATABASE"])

    class ItemPeewee(peewee.Model):
        vector = VectorField(dimensions=DIMENSIONS)
        halfvec = HalfVectorField(dimensions=DIMENSIONS)
        sparsevec = SparseVectorField(dimensions=DIMENSIONS)

        class Meta:
            table_name = "items_peewee"

    ItemPeewee.bind(database)
    ItemPeewee.add_index("vector vector_l2_ops", using="hnsw", name="peewee_vector")
    ItemPeewee.create_table()
    ItemPeewee.insert_many([{"id": i, "vector": vector, "halfvec": VALUES[i], "sparsevec": SparseVector(VALUES[i])}
                            for i, vector in enumerate(VECTORS)]).execute()
    database.execute_sql("SET hnsw.ef_search = 400; SET enable_seqscan = off")
    found = ItemPeewee.select(ItemPeewee.id).order_by(ItemPeewee.vector.l2_distance(QUERY)).limit(10)
    assert [row.id for row in found] == nearest("l2", 10)
    found = ItemPeewee.select(ItemPeewee.id).order_by(ItemPeewee.halfvec.cosine_distance(QUERY)).limit(3)
    assert {row.id for row in found} <= set(nearest("cosine", 10))
    assert method_of("peewee_vector") == "hnsw"
    database.close()


def test_psycopg2():
    with psycopg2.connect("") as connection, connection.cursor() as cursor:
        register_psycopg2(connection)
        cursor.execute(f"CREATE TABLE items_psycopg2 (id int, v vector({DIMENSIONS}), h halfvec({DIMENSIONS}), s sparsevec({DIMENSIONS}), a vector[])")
        for i, vector in enumerate(VECTORS):
            cursor.execute("INSERT INTO items_psycopg2 VALUES (%s, %s, %s, %s, %s::vector[])",
                           (i, Vector(vector), HalfVector(VALUES[i]), SparseVector(VALUES[i]), [Vector(VALUES[i])]))
        cursor.execute("CREATE INDEX ON items_psycopg2 USING hnsw (v vector_l2_ops); SET hnsw.ef_search = 400; SET enable_seqscan = off")
        cursor.execute("SELECT id FROM items_psycopg2 ORDER BY v <-> %s LIMIT 10", (Vector(QUERY),))
        assert [id_ for id_, in cursor.fetchall()] == nearest("l2", 10)
        cursor.execute("SELECT h, s, a FROM items_psycopg2 WHERE id = 17")
        half, sparse, array = cursor.fetchone()
        assert (half.to_list(), sparse.to_list(), [v.to_list() for v in array]) == (VALUES[17], VALUES[17], [VALUES[17]])


def test_pg8000():
    socket = f"{os.environ['PGHOST']}/.s.PGSQL.{os.environ['PGPORT']}"
    connection = pg8000.native.Connection(os.environ["PGUSER"], database=os.environ["PGDATABASE"], unix_sock=socket)
    register_pg8000(connection)
    connection.run(f"CREATE TABLE items_pg8000 (id int, v vector({DIMENSIONS}), s sparsevec({DIMENSIONS}))")
    for i, vector in enumerate(VECTORS):
        connection.run("INSERT INTO items_pg8000 VALUES (:id, :v, :s)", id=i, v=Vector(vector), s=SparseVector(VALUES[i]))
    connection.run("CREATE INDEX ON items_pg8000 USING ivfflat (v) WITH (lists = 5)")
    connection.run("SET ivfflat.probes = 5")
    connection.run("SET enable_seqscan = off")
    found = connection.run("SELECT id FROM items_pg8000 ORDER BY v <-> :query LIMIT 10", query=Vector(QUERY))
    assert [id_ for id_, in found] == nearest("l2", 10)
    (sparse,), = connection.run("SELECT s FROM items_pg8000 WHERE id = 17")
    assert sparse.to_list() == VALUES[17]
    assert connection.run("SELECT count(*) FROM items_pg8000") == [[ROWS]]
    connection.close()
