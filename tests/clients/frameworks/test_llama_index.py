"""LlamaIndex' PGVectorStore, unchanged: without an index and with hnsw of three classes, halfvec, filters, hybrid search, async."""

import asyncio

import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery,
                                                  VectorStoreQueryMode)
from llama_index.vector_stores.postgres import PGVectorStore

ROWS, DIMENSIONS = 300, 8
# In the first quadrant and no two in one direction.
VECTORS = [[1.0, i / 50, *(1.0 + i * (d + 3) % 101 / 7 for d in range(DIMENSIONS - 2))] for i in range(ROWS)]
QUERY = VECTORS[17]


def cosine(vector):
    def norm(v):
        return sum(x * x for x in v) ** .5
    return 1 - sum(x * y for x, y in zip(vector, QUERY)) / norm(vector) / norm(QUERY)


NEAREST = sorted(range(ROWS), key=lambda i: cosine(VECTORS[i]))


def store(name, **options):
    return PGVectorStore.from_params(connection_string="postgresql+psycopg2://", async_connection_string="postgresql+asyncpg://",
                                     table_name=name, embed_dim=DIMENSIONS, **options)


def fill(store):
    nodes = [TextNode(id_=str(i), text=f"chapter {i} of a {'long' if i % 2 else 'short'} book", embedding=vector,
                      metadata={"part": i % 3, "kind": "odd" if i % 2 else "even"}) for i, vector in enumerate(VECTORS)]
    assert store.add(nodes) == [str(i) for i in range(ROWS)]
    return store


HNSW = {"hnsw_m": 16, "hnsw_ef_construction": 64, "hnsw_ef_search": 400}


@pytest.mark.parametrize("name,options", [
    ("flat", {}),
    ("hnsw_cosine", {"hnsw_kwargs": {**HNSW, "hnsw_dist_method": "vector_cosine_ops"}}),
    ("halfvec", {"use_halfvec": True, "hnsw_kwargs": {**HNSW, "hnsw_dist_method": "halfvec_cosine_ops"}}),
    ("json", {"use_jsonb": True, "hnsw_kwargs": HNSW}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_nearest(name, options):
    books = fill(store(name, **options))
    found = books.query(VectorStoreQuery(query_embedding=QUERY, similarity_top_k=10))
    assert set(found.ids) == {str(i) for i in NEAREST[:10]}
    assert found.ids[0] == "17" and found.similarities == sorted(found.similarities, reverse=True)
    filters = MetadataFilters(filters=[MetadataFilter(key="kind", value="odd", operator=FilterOperator.EQ)])
    odd = books.query(VectorStoreQuery(query_embedding=QUERY, similarity_top_k=10, filters=filters))
    assert set(odd.ids) == {str(i) for i in [i for i in NEAREST if i % 2][:10]}
    found = asyncio.run(books.aquery(VectorStoreQuery(query_embedding=QUERY, similarity_top_k=5)))
    assert set(found.ids) == {str(i) for i in NEAREST[:5]}
    books.delete_nodes(["17"])
    assert "17" not in books.query(VectorStoreQuery(query_embedding=QUERY, similarity_top_k=5)).ids


def test_more_rows_than_the_width_of_the_search():
    books = fill(store("wide", hnsw_kwargs={**HNSW, "hnsw_ef_search": 40}))
    assert len(books.query(VectorStoreQuery(query_embedding=QUERY, similarity_top_k=100)).ids) == 100


def test_hybrid():
    books = fill(store("hybrid", hybrid_search=True, hnsw_kwargs=HNSW))
    found = books.query(VectorStoreQuery(query_embedding=QUERY, query_str="long book", similarity_top_k=3, sparse_top_k=3,
                                         mode=VectorStoreQueryMode.HYBRID))
    assert {str(i) for i in NEAREST[:3]} <= set(found.ids)


def test_ivfflat_probes_are_accepted():
    books = fill(store("probes", hnsw_kwargs=HNSW))
    assert books.query(VectorStoreQuery(query_embedding=QUERY, similarity_top_k=1), ivfflat_probes=10).ids == ["17"]
