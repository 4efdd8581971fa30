// LangChain's PGVectorStore for JavaScript, unchanged: table and index that it makes itself, documents, filters, scores, collections,
// maximal marginal relevance, deletion, by each of its distances. It gives each index one name, so each store has a schema.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { PGVectorStore } from '@langchain/community/vectorstores/pgvector';
import { Document } from '@langchain/core/documents';
import { Embeddings } from '@langchain/core/embeddings';
import pg from 'pg';

const { PGHOST: host, PGPORT, PGUSER: user, PGDATABASE: database } = process.env;
const postgresConnectionOptions = { host, port: Number(PGPORT), user, database, password: 'trusted' };
const ROWS = 200, NEAREST = 8;
// No two in one direction, at one distance of the query, or with one product.
const vectors = Array.from({ length: ROWS }, (_, i) => [1 + ((i * 37) % 101) / 8, 1 + ((i * 53) % 89) / 8, 1 + i / 4]);
const QUERY = 'the question';
const query = [4.3, 5.1, 20.2];
const sum = (values) => values.reduce((total, value) => total + value, 0);
const dot = (a, b) => sum(a.map((value, i) => value * b[i]));
const DISTANCES = {
  cosine: { method: (a, b) => 1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)), opclass: 'vector_cosine_ops' },
  euclidean: { method: (a, b) => Math.hypot(...a.map((value, i) => value - b[i])), opclass: 'vector_l2_ops' },
  innerProduct: { method: (a, b) => -dot(a, b), opclass: 'vector_ip_ops' },
};

// A document's text is its number.
class Numbered extends Embeddings {
  constructor() {
    super({});
  }

  async embedQuery(text) {
    return text === QUERY ? query : vectors[Number(text)];
  }

  async embedDocuments(texts) {
    return texts.map((text) => vectors[Number(text)]);
  }
}

const documents = vectors.map((_, i) => new Document({ pageContent: `${i}`, metadata: { number: i, kind: i % 2 ? 'odd' : 'even', tags: [`t${i % 3}`] } }));
const uuid = (i) => `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
const nearest = (distance, keep = () => true) => vectors.map((vector, i) => [distance(vector, query), i]).filter(([, i]) => keep(i))
  .sort((a, b) => a[0] - b[0]).map(([, i]) => `${i}`).slice(0, NEAREST);
const texts = (found) => found.map((document) => document.pageContent);

async function rowsOf(statement, values = []) {
  const client = new pg.Client(postgresConnectionOptions);
  await client.connect();
  try {
    return (await client.query(statement, values)).rows;
  } finally {
    await client.end();
  }
}

// A store that keeps a connection until its end.
async function using(config, action) {
  const store = await PGVectorStore.initialize(new Numbered(), { postgresConnectionOptions, dimensions: 3, ...config });
  try {
    await action(store);
  } finally {
    await store.end();
  }
}

before(async () => {
  await rowsOf('CREATE EXTENSION IF NOT EXISTS vector');
  await rowsOf(`ALTER DATABASE ${database} SET enable_seqscan = off`);
  await rowsOf(`ALTER DATABASE ${database} SET hnsw.ef_search = 400`);
});

async function useStore(store, schemaName, { method, opclass }) {
  await store.createHnswIndex({ dimensions: 3, m: 8, efConstruction: 32 });
  const [index] = await rowsOf('SELECT pg_get_indexdef(indexrelid) AS definition FROM pg_index WHERE indrelid = $1::regclass AND NOT indisprimary',
    [`${schemaName}.documents`]);
  assert.match(index.definition, new RegExp(`USING hnsw .*${opclass}.*m='?8`));
  await store.addDocuments(documents, { ids: documents.map((_, i) => uuid(i)) });

  const found = await store.similaritySearchWithScore(QUERY, NEAREST);
  assert.deepEqual(texts(found.map(([document]) => document)), nearest(method));
  for (const [document, score] of found) {
    const exact = method(vectors[Number(document.pageContent)], query);
    assert.ok(Math.abs(score - exact) < 1e-5 * Math.max(1, Math.abs(exact)), `${score} in place of ${exact}`);
  }
  for (const [filter, keep] of [
    [{ kind: 'odd' }, (i) => i % 2 === 1],
    [{ number: { gte: 50, lt: 90 } }, (i) => i >= 50 && i < 90],
    [{ number: { in: ['7', '9', '11'] } }, (i) => [7, 9, 11].includes(i)],
    [{ tags: { arrayContains: ['t1'] } }, (i) => i % 3 === 1],
  ]) {
    assert.deepEqual(texts(await store.similaritySearch(QUERY, NEAREST, filter)), nearest(method, keep), JSON.stringify(filter));
  }
  const diverse = await store.maxMarginalRelevanceSearch(QUERY, { k: 3, fetchK: NEAREST });
  assert.equal(diverse.length, 3);
  assert.ok(texts(diverse).every((text) => nearest(method).includes(text)));

  const [gone, next] = nearest(method);
  await store.delete({ ids: [uuid(Number(gone))] });
  assert.equal((await store.similaritySearch(QUERY, 1))[0].pageContent, next);
  await store.delete({ filter: { kind: 'odd' } });
  assert.deepEqual((await store.similaritySearch(QUERY, NEAREST)).map((document) => document.metadata.kind), Array(NEAREST).fill('even'));
}

for (const [distanceStrategy, expected] of Object.entries(DISTANCES)) {
  test(`a store by ${distanceStrategy}`, async () => {
    const schemaName = `by_${distanceStrategy.toLowerCase()}`;
    await rowsOf(`CREATE SCHEMA ${schemaName}`);
    const config = { schemaName, tableName: 'documents', distanceStrategy, chunkSize: 50 };
    await using(config, (store) => useStore(store, schemaName, expected));
  });
}

test('collections of one table', async () => {
  const config = { tableName: 'collected', collectionTableName: 'collections' };
  for (const [collectionName, kind] of [['first', 'even'], ['second', 'odd']]) {
    await using({ ...config, collectionName }, async (store) => {
      await store.addDocuments(documents.filter((document) => document.metadata.kind === kind));
      await store.createHnswIndex({ dimensions: 3, namespace: 'collected' });
    });
  }
  for (const [i, collectionName] of ['first', 'second'].entries()) {
    await using({ ...config, collectionName }, async (store) => {
      const found = await store.similaritySearch(QUERY, NEAREST);
      assert.deepEqual(texts(found), nearest(DISTANCES.cosine.method, (number) => number % 2 === i));
    });
  }
});
