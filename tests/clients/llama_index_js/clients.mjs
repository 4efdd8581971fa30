// LlamaIndex' PGVectorStore for JavaScript, unchanged: the extension and the table that it makes itself, documents, filters,
// collections, deletion, each search without an index and with one of hnsw, which the store does not make.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Document } from '@llamaindex/core/schema';
import { FilterCondition, FilterOperator, VectorStoreQueryMode } from '@llamaindex/core/vector-store';
import { PGVectorStore } from '@llamaindex/postgres';
import pg from 'pg';

const { PGHOST: host, PGPORT, PGUSER: user, PGDATABASE: database } = process.env;
const clientConfig = { host, port: Number(PGPORT), user, database };
const ROWS = 200, NEAREST = 8;
// No two in one direction.
const vectors = Array.from({ length: ROWS }, (_, i) => [1 + ((i * 37) % 101) / 8, 1 + ((i * 53) % 89) / 8, 1 + i / 4]);
const queryEmbedding = [4.3, 5.1, 20.2];
const dot = (a, b) => a.reduce((total, value, i) => total + value * b[i], 0);
const similarity = (i) => dot(vectors[i], queryEmbedding) / Math.sqrt(dot(vectors[i], vectors[i]) * dot(queryEmbedding, queryEmbedding));
const id = (i) => `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
const document = (i) => new Document({
  id_: id(i), text: `text ${i}`, embedding: vectors[i], metadata: { number: i, kind: i % 2 ? 'odd' : 'even', tags: [`t${i % 3}`, 'all'] },
});
const nearest = (keep = () => true) => vectors.map((_, i) => i).filter(keep).sort((a, b) => similarity(b) - similarity(a)).slice(0, NEAREST);

// The store asks for a model, which makes embeddings of none here: all have theirs.
const store = new PGVectorStore({ clientConfig, dimensions: 3, embeddingModel: {} });
const stored = await store.client();
after(() => stored.close());

async function find(filters) {
  const query = { queryEmbedding, similarityTopK: NEAREST, mode: VectorStoreQueryMode.DEFAULT };
  return store.query(filters ? { ...query, filters } : query);
}

async function checkFound(keep, filters) {
  const found = await find(filters), expected = nearest(keep);
  assert.deepEqual(found.ids, expected.map(id));
  assert.deepEqual(found.nodes.map((node) => [node.text, node.metadata.number]), expected.map((i) => [`text ${i}`, i]));
  found.similarities.forEach((value, place) => assert.ok(Math.abs(value - similarity(expected[place])) < 1e-6));
}

async function scans() {
  const client = new pg.Client(clientConfig);
  await client.connect();
  try {
    const { rows } = await client.query("SELECT pg_stat_get_numscans('of_embeddings'::regclass) AS scans");
    return Number(rows[0].scans);
  } finally {
    await client.end();
  }
}

const one = (key, value, operator) => ({ filters: [{ key, value, operator }] });
const FILTERS = [
  ['none', () => true, undefined],
  ['equal', (i) => i % 2 === 1, one('kind', 'odd', FilterOperator.EQ)],
  ['less', (i) => i < 60, one('number', 60, FilterOperator.LT)],
  ['in', (i) => [3, 5, 8, 13, 21, 34, 55, 89, 144].includes(i), one('number', [3, 5, 8, 13, 21, 34, 55, 89, 144].map(String), FilterOperator.IN)],
  ['contains', (i) => i % 3 === 1, one('tags', 't1', FilterOperator.CONTAINS)],
  ['any', (i) => i % 3 !== 0, one('tags', ['t1', 't2'], FilterOperator.ANY)],
  ['both', (i) => i % 2 === 0 && i > 100, {
    filters: [{ key: 'kind', value: 'even', operator: FilterOperator.EQ }, { key: 'number', value: 100, operator: FilterOperator.GT }],
    condition: FilterCondition.AND,
  }],
];

async function checkAll() {
  for (const [, keep, filters] of FILTERS) await checkFound(keep, filters);
}

test('documents are added, found and found by filters without an index', async () => {
  assert.deepEqual(await store.add(vectors.map((_, i) => document(i))), vectors.map((_, i) => id(i)));
  await checkAll();
});

test('an index of hnsw answers the same', async () => {
  await stored.query('CREATE INDEX of_embeddings ON llamaindex_embedding USING hnsw (embeddings vector_cosine_ops)');
  await stored.query('SET enable_seqscan = off');
  await stored.query('SET enable_sort = off');
  await checkAll();
  await stored.query('SELECT pg_stat_force_next_flush()');
  await stored.query('SELECT');
  assert.ok(await scans() >= FILTERS.length);
});

test('a document that is added again is replaced', async () => {
  const [first] = nearest();
  const changed = document(first);
  changed.metadata.kind = 'other';
  await store.add([changed]);
  const other = await find(one('kind', 'other', FilterOperator.EQ));
  assert.deepEqual(other.ids, [id(first)]);
  await store.add([document(first)]);
  await checkFound();
});

test('collections are apart', async () => {
  const own = store.getCollection();
  store.setCollection('other');
  assert.deepEqual((await find()).ids, []);
  const moved = new Document({ text: 'alone', embedding: [1, 2, 3], metadata: {} });
  const [alone] = await store.add([moved]);
  assert.deepEqual((await find()).ids, [alone]);
  await store.clearCollection();
  assert.deepEqual((await find()).ids, []);
  store.setCollection(own);
  await checkFound();
});

test('a deleted document is not found', async () => {
  const [first] = nearest();
  await store.delete(id(first));
  assert.deepEqual((await find()).ids, nearest((i) => i !== first).map(id));
});

test('a vector of other dimensions is refused', async () => {
  const short = new Document({ text: 'short', embedding: [1, 2], metadata: {} });
  await assert.rejects(store.add([short]), /expected 3 dimensions, not 2/);
});
