"""haystack's PgvectorDocumentStore, unchanged: exact and by hnsw, vector and halfvec, filters, keywords, async."""

import asyncio

import pytest
from haystack import Document, Pipeline
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils import Secret
from haystack_integrations.components.retrievers.pgvector import PgvectorEmbeddingRetriever, PgvectorKeywordRetriever
from haystack_integrations.document_stores.pgvector import PgvectorDocumentStore

from data import DIMENSIONS, QUERY, ROWS, VECTORS, method_of, nearest

FUNCTIONS = {"cosine_similarity": "cosine", "inner_product": "ip", "l2_distance": "l2"}
ODD = {"field": "meta.kind", "operator": "==", "value": "odd"}


def documents():
    return [Document(id=str(i), content=f"chapter {i} of a {'long' if i % 2 else 'short'} book", embedding=vector,
                     meta={"kind": "odd" if i % 2 else "even", "part": i % 3}) for i, vector in enumerate(VECTORS)]


def make_store(name, **options):
    return PgvectorDocumentStore(connection_string=Secret.from_token("postgresql://"), table_name=name, embedding_dimension=DIMENSIONS,
                                 recreate_table=True, hnsw_index_name=f"{name}_hnsw", keyword_index_name=f"{name}_keyword",
                                 hnsw_recreate_index_if_exists=True, hnsw_ef_search=400, **options)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("vector_type", ["vector", "halfvec"])
@pytest.mark.parametrize("strategy", ["exact_nearest_neighbor", "hnsw"])
def test_nearest(strategy, vector_type, function):
    name = f"{strategy}_{vector_type}_{function}"
    store = make_store(name, search_strategy=strategy, vector_type=vector_type, vector_function=function)
    assert store.write_documents(documents()) == ROWS
    assert method_of(f"{name}_hnsw") == ("hnsw" if strategy == "hnsw" else None)
    retriever = PgvectorEmbeddingRetriever(document_store=store, top_k=10)
    distance = FUNCTIONS[function]
    found = retriever.run(query_embedding=QUERY)["documents"]
    assert [d.id for d in found[:3]] == [str(i) for i in nearest(distance, 3)]
    assert {d.id for d in found} == {str(i) for i in nearest(distance, 10)}
    assert found[0].embedding == pytest.approx(VECTORS[nearest(distance, 1)[0]], rel=1e-3)
    found = retriever.run(query_embedding=QUERY, filters=ODD)["documents"]
    assert {d.id for d in found} == {str(i) for i in nearest(distance, 10, range(1, ROWS, 2))}
    found = asyncio.run(retriever.run_async(query_embedding=QUERY))["documents"]
    assert {d.id for d in found} == {str(i) for i in nearest(distance, 10)}
    store.close()


def test_rows_come_and_go():
    store = make_store("changing", search_strategy="hnsw", vector_function="l2_distance")
    store.write_documents(documents())
    first, second = nearest("l2", 2)
    moved = Document(id=str(first), content="moved", embedding=[100.0] * DIMENSIONS)
    assert store.write_documents([moved], policy=DuplicatePolicy.OVERWRITE) == 1
    retriever = PgvectorEmbeddingRetriever(document_store=store, top_k=1)
    assert retriever.run(query_embedding=QUERY)["documents"][0].id == str(second)
    store.delete_documents([str(second)])
    assert retriever.run(query_embedding=QUERY)["documents"][0].id == str(nearest("l2", 3)[2])
    assert store.delete_by_filter(ODD) == len([i for i in range(1, ROWS, 2) if i not in (first, second)])
    assert store.count_documents() == ROWS - 1 - ROWS // 2 + len({first} & set(range(1, ROWS, 2)))
    # An index on a table that has rows already, which haystack adds where a store that has it is opened.
    again = PgvectorDocumentStore(connection_string=Secret.from_token("postgresql://"), table_name="changing", hnsw_index_name="later",
                                  embedding_dimension=DIMENSIONS, vector_function="l2_distance", search_strategy="hnsw")
    assert again.count_documents() == store.count_documents() and method_of("later") == "hnsw"


def test_a_pipeline_of_both_searches():
    store = make_store("pipeline", search_strategy="hnsw")
    store.write_documents(documents())
    pipeline = Pipeline()
    pipeline.add_component("vectors", PgvectorEmbeddingRetriever(document_store=store, top_k=5))
    pipeline.add_component("words", PgvectorKeywordRetriever(document_store=store, top_k=5))
    found = pipeline.run({"vectors": {"query_embedding": QUERY}, "words": {"query": "long book"}})
    assert {d.id for d in found["vectors"]["documents"]} == {str(i) for i in nearest("cosine", 5)}
    assert all(int(d.id) % 2 for d in found["words"]["documents"])
