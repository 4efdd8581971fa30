"""agno's PgVector, unchanged: its searches by each distance, with the settings of each of its indexes."""

import asyncio

import pytest
from agno.knowledge.document import Document
from agno.vectordb.distance import Distance
from agno.vectordb.pgvector import HNSW, Ivfflat, PgVector
from agno.vectordb.search import SearchType
from sqlalchemy import text

from data import DIMENSIONS, QUERY, ROWS, VECTORS, method_of, nearest

DISTANCES = {Distance.cosine: "cosine", Distance.l2: "l2", Distance.max_inner_product: "ip"}
CLASSES = {"cosine": "vector_cosine_ops", "l2": "vector_l2_ops", "ip": "vector_ip_ops"}


class Numbers:
    """Embeds a text by the number that it ends with."""
    dimensions = DIMENSIONS
    enable_batch = False

    def get_embedding(self, content):
        return VECTORS[int(content.split()[-1])]

    def get_embedding_and_usage(self, content):
        return self.get_embedding(content), None


@pytest.mark.parametrize("distance", DISTANCES, ids=lambda distance: distance.value)
@pytest.mark.parametrize("index", [HNSW(ef_search=400), Ivfflat(lists=10, probes=10)], ids=lambda index: type(index).__name__.lower())
def test_search(index, distance):
    name = f"{type(index).__name__}_{distance.value}".lower()
    store = PgVector(table_name=name, db_url="postgresql+psycopg://", embedder=Numbers(), distance=distance, vector_index=index)
    store.create()
    store.insert("hash", [Document(id=str(i), name=f"{i}", content=f"number {i}", meta_data={"odd": i % 2 == 1}) for i in range(ROWS)])
    # Its optimize() gives parameters to CREATE INDEX, which no server takes; the statement is the same.
    method = type(index).__name__.lower()
    options = "m = 16, ef_construction = 200" if method == "hnsw" else "lists = 10"
    with store.db_engine.begin() as connection:
        connection.execute(text(f"CREATE INDEX {name}_index ON {store.table.fullname} USING {method} "
                                f"(embedding {CLASSES[DISTANCES[distance]]}) WITH ({options})"))
    assert method_of(f"{name}_index") == method

    query = f"number {VECTORS.index(QUERY)}"
    names = {str(i) for i in nearest(DISTANCES[distance], 10)}
    assert {document.name for document in store.search(query, limit=10)} == names
    assert {document.name for document in asyncio.run(store.async_search(query, limit=10))} == names
    odd = {document.name for document in store.search(query, limit=10, filters={"odd": True})}
    assert odd == {str(i) for i in nearest(DISTANCES[distance], 10, range(1, ROWS, 2))}
    hybrid = PgVector(table_name=name, db_url="postgresql+psycopg://", embedder=Numbers(), distance=distance, vector_index=index,
                      search_type=SearchType.hybrid)
    # Its word and its place count.
    assert hybrid.search(query, limit=3)[0].name == query.split()[-1]
