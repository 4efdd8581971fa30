"""LangChain's stores for pgvector, unchanged: PGVector over psycopg, and PGVectorStore over asyncpg."""

import os
import time
import uuid

import numpy as np
import psycopg
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_postgres import Column, PGEngine, PGVector, PGVectorStore
from langchain_postgres.v2.indexes import DistanceStrategy, HNSWIndex, HNSWQueryOptions

DIMENSIONS, NEAREST = 24, 5
# Text by text the same numbers on every run, drawn by a generator that the text seeds.
EMBEDDINGS = DeterministicFakeEmbedding(size=DIMENSIONS)
TEXTS = [f"chapter {i} of a book" for i in range(120)]
VECTORS = np.array(EMBEDDINGS.embed_documents(TEXTS))
DOCUMENTS = [
    Document(id=str(uuid.UUID(int=i)), page_content=text, metadata={"chapter": i, "part": "odd" if i % 2 else "even"})
    for i, text in enumerate(TEXTS)]
QUESTION = "what is the book about?"
QUERY = np.array(EMBEDDINGS.embed_query(QUESTION))
DISTANCES = {
    "cosine": 1 - VECTORS @ QUERY / (np.linalg.norm(VECTORS, axis=1) * np.linalg.norm(QUERY)),
    "l2": np.linalg.norm(VECTORS - QUERY, axis=1),
}


def assert_nearest(found, distances, rows=range(len(TEXTS))):
    """Documents and scores are those of the nearest `rows`."""
    expected = sorted(rows, key=lambda row: distances[row])[:NEAREST]
    assert [document.page_content for document, _ in found] == [TEXTS[row] for row in expected]
    np.testing.assert_allclose([score for _, score in found], distances[expected], rtol=1e-5)


def wait_for_scans(index, count):
    """Waits until the index was used so often: what a session counts arrives when it ends, which the client does not wait for."""
    deadline = time.monotonic() + 60
    query = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s"
    with psycopg.connect(autocommit=True) as connection:
        while connection.execute(query, (index,)).fetchone()[0] < count:
            assert time.monotonic() < deadline, f"the index {index} is hardly used"
            time.sleep(0.01)


@pytest.fixture(scope="module", autouse=True)
def prefer_indexes():
    """Tables as small as these are read faster without one."""
    with psycopg.connect(autocommit=True) as connection:
        database = os.environ["PGDATABASE"]
        connection.execute(f"ALTER DATABASE {database} SET enable_seqscan = off")
        connection.execute(f"ALTER DATABASE {database} SET enable_bitmapscan = off")


@pytest.mark.parametrize("strategy", DISTANCES)
def test_pgvector(strategy):
    store = PGVector(embeddings=EMBEDDINGS, collection_name=f"books_{strategy}", connection="postgresql+psycopg://",
                     embedding_length=DIMENSIONS, distance_strategy=strategy, use_jsonb=True,
                     engine_args={"connect_args": {"options": "-c hnsw.ef_search=200"}})
    assert sorted(store.add_documents(DOCUMENTS)) == sorted(document.id for document in DOCUMENTS)
    with psycopg.connect(autocommit=True) as connection:
        assert connection.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'").fetchall() == [("vector",)]
        connection.execute(f"CREATE INDEX by_{strategy} ON langchain_pg_embedding USING hnsw (embedding vector_{strategy}_ops)")

    distances = DISTANCES[strategy]
    assert_nearest(store.similarity_search_with_score(QUESTION, k=NEAREST), distances)
    odd = store.similarity_search_with_score(QUESTION, k=NEAREST, filter={"part": "odd"})
    assert_nearest(odd, distances, range(1, len(TEXTS), 2))
    late = store.similarity_search_with_score(QUESTION, k=NEAREST, filter={"chapter": {"$gte": 60}})
    assert_nearest(late, distances, range(60, len(TEXTS)))
    diverse = store.max_marginal_relevance_search(QUESTION, k=NEAREST, fetch_k=40)
    assert diverse[0].page_content == TEXTS[distances.argmin()] and len({document.id for document in diverse}) == NEAREST

    nearest = int(distances.argmin())
    store.delete([DOCUMENTS[nearest].id])
    assert_nearest(store.similarity_search_with_score(QUESTION, k=NEAREST), distances, set(range(len(TEXTS))) - {nearest})
    store.delete_collection()
    with psycopg.connect() as connection:
        assert connection.execute("SELECT count(*) FROM langchain_pg_embedding").fetchone() == (0,)


@pytest.mark.parametrize("strategy", DISTANCES)
def test_pgvectorstore(strategy):
    table, kind = f"pages_{strategy}", {"cosine": DistanceStrategy.COSINE_DISTANCE, "l2": DistanceStrategy.EUCLIDEAN}[strategy]
    engine = PGEngine.from_connection_string("postgresql+asyncpg://")
    engine.init_vectorstore_table(table, DIMENSIONS, metadata_columns=[Column("chapter", "int"), Column("part", "text")])
    store = PGVectorStore.create_sync(engine, EMBEDDINGS, table, metadata_columns=["chapter", "part"], distance_strategy=kind,
                                      index_query_options=HNSWQueryOptions(ef_search=200))
    store.add_documents(DOCUMENTS)
    index = f"{table}_index"
    store.apply_vector_index(HNSWIndex(name=index, distance_strategy=kind, m=12, ef_construction=100))
    assert store.is_valid_index(index)

    distances = DISTANCES[strategy]
    assert_nearest(store.similarity_search_with_score(QUESTION, k=NEAREST), distances)
    odd = store.similarity_search_with_score(QUESTION, k=NEAREST, filter={"part": {"$eq": "odd"}})
    assert_nearest(odd, distances, range(1, len(TEXTS), 2))
    store.reindex(index)
    assert_nearest(store.similarity_search_with_score(QUESTION, k=NEAREST), distances)
    nearest = int(distances.argmin())
    assert store.delete([DOCUMENTS[nearest].id])
    assert_nearest(store.similarity_search_with_score(QUESTION, k=NEAREST), distances, set(range(len(TEXTS))) - {nearest})
    engine._run_as_sync(engine.close())
    wait_for_scans(index, 3)
