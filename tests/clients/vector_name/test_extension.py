"""The extension under the name `vector`: what it consists of, dump and restore, removal."""

import os
import subprocess

import psycopg
import pytest

DATABASE = os.environ["PGDATABASE"]
RESTORED, OTHER = DATABASE + "_restored", DATABASE + "_other"
NEAREST = "SELECT id FROM items ORDER BY embedding <-> '[70.2,0,1]' LIMIT 5"
MEMBERS = """SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
    JOIN pg_extension e ON refclassid = 'pg_extension'::regclass AND refobjid = e.oid WHERE deptype = 'e' AND extname = %s"""


def connect(database):
    return psycopg.connect(dbname=database, autocommit=True)


@pytest.fixture(scope="module", autouse=True)
def databases():
    with connect("postgres") as server:
        for database in (RESTORED, OTHER):
            server.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            server.execute(f"CREATE DATABASE {database} TEMPLATE template0")
    with connect(DATABASE) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE TABLE items (id int PRIMARY KEY, embedding vector(3))")
        connection.execute("INSERT INTO items SELECT i, ARRAY[i, 0, 1] FROM generate_series(1, 200) i")
        connection.execute("CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops) WITH (m = 8)")


def members(connection, extension):
    return {object_ for object_, in connection.execute(MEMBERS, (extension,))}


def assert_finds_rows(connection):
    with connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(line for line, in connection.execute("EXPLAIN " + NEAREST))
        assert "Index Scan using items_embedding" in plan
        assert [id_ for id_, in connection.execute(NEAREST)] == [70, 71, 69, 72, 68]


def test_it_has_the_objects_of_pg_alopex():
    with connect(OTHER) as other, connect(DATABASE) as connection:
        other.execute("CREATE EXTENSION pg_alopex")
        assert members(connection, "vector") == members(other, "pg_alopex")
        assert "access method hnsw" in members(other, "pg_alopex")


def test_a_database_has_one_of_the_two():
    with connect(DATABASE) as connection, pytest.raises(psycopg.ProgrammingError, match="already exists"):
        connection.execute("CREATE EXTENSION pg_alopex")
    with connect(OTHER) as other:
        other.execute("CREATE EXTENSION IF NOT EXISTS pg_alopex")
        with pytest.raises(psycopg.ProgrammingError, match="already exists"):
            other.execute("CREATE EXTENSION vector")


def test_it_dumps_and_restores():
    dump = subprocess.run(["pg_dump", DATABASE], check=True, capture_output=True, text=True).stdout
    assert "CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public" in dump
    assert "pg_alopex" not in dump
    subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", RESTORED], input=dump, check=True, text=True)
    with connect(DATABASE) as connection, connect(RESTORED) as restored:
        assert_finds_rows(connection)
        assert_finds_rows(restored)
        rows = "SELECT id, embedding::text FROM items ORDER BY id"
        assert restored.execute(rows).fetchall() == connection.execute(rows).fetchall()
        definition = "SELECT pg_get_indexdef('items_embedding'::regclass)"
        assert restored.execute(definition).fetchall() == connection.execute(definition).fetchall()


def test_it_can_be_dropped_and_made_again():
    with connect(DATABASE) as connection:
        with pytest.raises(psycopg.errors.DependentObjectsStillExist):
            connection.execute("DROP EXTENSION vector")
        assert_finds_rows(connection)
        connection.execute("DROP TABLE items")
        connection.execute("DROP EXTENSION vector")
        assert connection.execute("SELECT to_regtype('vector'), to_regproc('l2_distance')").fetchone() == (None, None)
        assert connection.execute("SELECT count(*) FROM pg_am WHERE amname = 'hnsw'").fetchone() == (0,)
        connection.execute("CREATE EXTENSION pg_alopex")
        assert connection.execute("SELECT '[1,2]'::vector <-> '[1,4]'").fetchone() == (2.0,)
        connection.execute("DROP EXTENSION pg_alopex")
        connection.execute("CREATE EXTENSION vector CASCADE")
        assert connection.execute("SELECT '[1,2]'::vector <-> '[1,4]'").fetchone() == (2.0,)
