"""LangGraph's Postgres store, unchanged: its migrations and searches, for each index and type that it knows."""

import psycopg
import pytest
from langgraph.store.postgres import PostgresStore

DIMENSIONS = 8


def embed(texts):
    """The number in a text, as a point on a line that is bent a little."""
    numbers = [float(text.split()[-1]) for text in texts]
    return [[50.0, number, *(number * d % 5 / 100 for d in range(DIMENSIONS - 2))] for number in numbers]


def methods_of_indexes(database):
    with psycopg.connect(dbname=database) as connection:
        return {name for name, in connection.execute(
            "SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE amname IN ('hnsw', 'ivfflat')")}


@pytest.mark.parametrize("kind", ["hnsw", "ivfflat", "flat"])
@pytest.mark.parametrize("vector_type", ["vector", "halfvec"])
@pytest.mark.parametrize("distance_type", ["l2", "inner_product", "cosine"])
def test_search(kind, vector_type, distance_type):
    # A database of its own for each, because the migrations are the database's.
    name = f"langgraph_{kind}_{vector_type}_{distance_type}"
    with psycopg.connect(autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    ann = {"kind": kind, "vector_type": vector_type}
    if kind == "ivfflat":
        ann["nlist"] = 4
    index = {"dims": DIMENSIONS, "embed": embed, "fields": ["text"], "distance_type": distance_type,
             "ann_index_config": ann}
    try:
        with PostgresStore.from_conn_string(f"dbname={name}", index=index) as store:
            store.setup()
            for i in range(1, 101):
                store.put(("books", "odd" if i % 2 else "even"), str(i), {"text": f"chapter {i}"})
            assert methods_of_indexes(name) == ({kind} if kind != "flat" else set())
            found = [item.key for item in store.search(("books",), query="chapter 100", limit=3)]
            assert found[0] == "100" and len(found) == 3
            odd = store.search(("books", "odd"), query="chapter 50", limit=3)
            assert {int(item.key) % 2 for item in odd} == {1}
            if distance_type == "l2":
                assert {item.key for item in odd} <= {"47", "49", "51", "53"}
            store.delete(("books", "even"), "100")
            assert "100" not in [item.key for item in store.search(("books",), query="chapter 100", limit=3)]
    finally:
        with psycopg.connect(autocommit=True) as server:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
