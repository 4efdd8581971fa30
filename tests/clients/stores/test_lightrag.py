"""LightRAG's vector storage, unchanged: its set-up of extension, table and index, by each kind of index; insert, query, delete."""

import asyncio
import os

import numpy as np
import pytest
from lightrag.kg.postgres_impl import PGVectorStorage
from lightrag.kg.shared_storage import initialize_share_data
from lightrag.utils import EmbeddingFunc

from data import DIMENSIONS, QUERY, ROWS, VECTORS, methods_of, nearest


async def embed(texts, **_):
    return np.array([VECTORS[int(text.split()[-1])] for text in texts], dtype=np.float32)


@pytest.mark.parametrize("kind,method", [("HNSW", "hnsw"), ("HNSW_HALFVEC", "hnsw"), ("IVFFLAT", "ivfflat")])
def test_storage(kind, method, monkeypatch, tmp_path):
    # It reads a file config.ini of the current directory.
    monkeypatch.chdir(tmp_path)
    for name in ("HOST", "PORT", "USER", "DATABASE"):
        monkeypatch.setenv(f"POSTGRES_{name}", os.environ[f"PG{name}"])
    for name, value in {"PASSWORD": "trusted", "VECTOR_INDEX_TYPE": kind, "IVFFLAT_LISTS": "5", "WORKSPACE": "tests"}.items():
        monkeypatch.setenv(f"POSTGRES_{name}", value)
    initialize_share_data()
    model = kind.lower()
    storage = PGVectorStorage(
        namespace="chunks", workspace="tests", meta_fields={"content"},
        global_config={"embedding_batch_num": 50, "vector_db_storage_cls_kwargs": {"cosine_better_than_threshold": -1}},
        embedding_func=EmbeddingFunc(embedding_dim=DIMENSIONS, func=embed, model_name=model))

    async def use():
        await storage.initialize()
        await storage.upsert({f"row-{i}": {"content": f"number {i}", "tokens": 2, "chunk_order_index": i, "full_doc_id": "document",
                                           "file_path": "none"} for i in range(ROWS)})
        await storage.index_done_callback()

        async def found(count):
            return [row["id"] for row in await storage.query("", count, query_embedding=QUERY)]

        first, *others = nearest("cosine", 10)
        assert set(await found(10)) == {f"row-{i}" for i in [first, *others]}
        await storage.delete([f"row-{first}"])
        await storage.index_done_callback()
        assert await found(1) == [f"row-{others[0]}"]
        await storage.finalize()

    asyncio.run(use())
    # A failure to make the index is a line in its log only.
    assert methods_of(storage.table_name) == [method]
