// Mastra's PgVector, unchanged: indexes by default and by each type, kind and metric; upsert, query, filter, update, delete.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { PgVector } from '@mastra/pg';

const { PGHOST: host, PGPORT: port, PGUSER: user, PGDATABASE: database } = process.env;
const db = new PgVector({ id: 'vectors', host, port: Number(port), user, database, password: 'trusted' });
after(() => db.disconnect());

const ROWS = 100;
const vectors = Array.from({ length: ROWS }, (_, i) => [i + 1, (i * 7) % 11, 1]);
const metadata = vectors.map((_, i) => ({ number: i, kind: i % 2 ? 'odd' : 'even' }));
const ids = vectors.map((_, i) => `row-${i}`);
const query = [42.2, 5, 1];
const sum = (values) => values.reduce((total, value) => total + value, 0);
const dot = (a, b) => sum(a.map((value, i) => value * b[i]));
const DISTANCES = {
  cosine: (a, b) => 1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)),
  euclidean: (a, b) => Math.hypot(...a.map((value, i) => value - b[i])),
  dotproduct: (a, b) => -dot(a, b),
};
const nearest = (metric) => ids.map((id, i) => [DISTANCES[metric](vectors[i], query), id]).sort((a, b) => a[0] - b[0]).map(([, id]) => id);

// The whole life of an index.
async function use(indexName, metric, options, expected) {
  await db.createIndex({ indexName, dimension: 3, metric, ...options });
  await db.upsert({ indexName, vectors, metadata, ids });
  const stats = await db.describeIndex({ indexName });
  assert.equal(stats.count, ROWS);
  assert.equal(stats.type, expected);
  // The metric is kept in the index alone: without one Mastra takes cosine.
  const order = nearest(expected === 'flat' ? 'cosine' : metric);
  const found = await db.query({ indexName, queryVector: query, topK: 5, ef: 200, probes: 10 });
  assert.equal(found.length, 5);
  assert.ok(order.slice(0, 8).includes(found[0].id), `${found[0].id} is not of ${order.slice(0, 8)}`);
  const odd = await db.query({ indexName, queryVector: query, topK: 5, filter: { kind: 'odd' }, ef: 200, probes: 10 });
  assert.deepEqual(odd.map((row) => row.metadata.kind), Array(5).fill('odd'));
  await db.updateVector({ indexName, id: 'row-0', update: { vector: [...query], metadata: { number: 0, kind: 'new' } } });
  if (metric !== 'dotproduct') {
    const [first] = await db.query({ indexName, queryVector: query, topK: 1, ef: 200, probes: 10 });
    assert.equal(first.id, 'row-0');
  }
  await db.deleteVector({ indexName, id: 'row-0' });
  assert.equal((await db.describeIndex({ indexName })).count, ROWS - 1);
  await db.deleteIndex({ indexName });
}

for (const metric of Object.keys(DISTANCES)) {
  test(`the default index, ${metric}`, () => use(`by_default_${metric}`, metric, {}, 'ivfflat'));
  for (const vectorType of ['vector', 'halfvec']) {
    for (const type of ['hnsw', 'ivfflat', 'flat']) {
      test(`${type} of ${vectorType}, ${metric}`, () => use(`${type}_${vectorType}_${metric}`, metric, { vectorType, indexConfig: { type } }, type));
    }
  }
}

test('more dimensions than pgvector indexes', async () => {
  await db.createIndex({ indexName: 'wide', dimension: 2500, metric: 'cosine', indexConfig: { type: 'hnsw' } });
  assert.equal((await db.describeIndex({ indexName: 'wide' })).type, 'hnsw');
});
