"""mem0's store of memories, unchanged: its collection with and without an index, search with filters, update, delete."""

import uuid

import pytest
from mem0.vector_stores.pgvector import PGVector

from data import DIMENSIONS, QUERY, ROWS, VECTORS, method_of, nearest

IDS = [str(uuid.UUID(int=i + 1)) for i in range(ROWS)]


@pytest.mark.parametrize("hnsw", [False, True])
def test_memories(hnsw):
    name = f"memories_{hnsw}".lower()
    store = PGVector(dbname=None, collection_name=name, embedding_model_dims=DIMENSIONS, user=None, password=None, host=None, port=None,
                     diskann=False, hnsw=hnsw, connection_string="postgresql://")
    store.insert(VECTORS, [{"data": f"memory {i}", "user_id": f"user{i % 4}"} for i in range(ROWS)], IDS)
    assert method_of(f"{name}_hnsw_idx") == ("hnsw" if hnsw else None)

    def found(**options):
        return [result.id for result in store.search("", QUERY, **options)]

    assert found(top_k=10) == [IDS[i] for i in nearest("cosine", 10)]
    assert found(top_k=5, filters={"user_id": "user1"}) == [IDS[i] for i in nearest("cosine", 5, range(1, ROWS, 4))]
    first, second = nearest("cosine", 2)
    store.update(IDS[first], vector=[-x for x in QUERY], payload={"data": "changed"})
    assert found(top_k=1) == [IDS[second]]
    assert store.get(IDS[first]).payload["data"] == "changed"
    store.delete(IDS[second])
    assert found(top_k=1) == [IDS[nearest("cosine", 3)[2]]]
    assert len(store.list(top_k=ROWS)[0]) == ROWS - 1
    store.delete_col()
    store.connection_pool.close()
