// node-postgres with pgvector's types: parameters and results, searches, settings, aggregates, a pool.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import pgvector from 'pgvector/pg';
import { SparseVector } from 'pgvector';

const ROWS = 300, DIMENSIONS = 8, BITS = 64, NEAREST = 10;

// Numbers that all types hold exactly, in no order: a linear congruence, of which the middle bits are taken.
let state = 7;
function draw(below) {
  state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
  return (state >> 8) % below;
}
const numbers = () => Array.from({ length: DIMENSIONS }, () => (draw(2) ? (draw(1000) - 500) / 64 : 0));
const flags = () => Array.from({ length: BITS }, () => draw(2));
// No row is zero, for which there is no cosine.
const row = (_, i) => ({ id: i + 1, numbers: [1 + draw(64) / 64, ...numbers().slice(1)], flags: flags() });
const rows = Array.from({ length: ROWS }, row);
const query = row();

const sum = (values) => values.reduce((total, value) => total + value, 0);
const both = (a, b, combine) => sum(a.map((value, i) => combine(value, b[i])));
const dot = (a, b) => both(a, b, (x, y) => x * y);
const DISTANCES = {
  '<->': (a, b) => Math.sqrt(both(a, b, (x, y) => (x - y) ** 2)),
  '<#>': (a, b) => -dot(a, b),
  '<=>': (a, b) => 1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)),
  '<+>': (a, b) => both(a, b, (x, y) => Math.abs(x - y)),
  '<~>': (a, b) => both(a, b, (x, y) => x ^ y),
  '<%>': (a, b) => 1 - dot(a, b) / both(a, b, (x, y) => x | y),
};
const NAMES = { '<->': 'l2', '<#>': 'ip', '<=>': 'cosine', '<+>': 'l1', '<~>': 'hamming', '<%>': 'jaccard' };
const SEARCHES = [
  ...['vector', 'halfvec', 'sparsevec'].flatMap((type) => ['<->', '<#>', '<=>', '<+>'].map((operator) => [type, operator])),
  ['bit', '<~>'], ['bit', '<%>'],
];

const PARAMETERS = {
  vector: (row) => pgvector.toSql(row.numbers),
  halfvec: (row) => pgvector.toSql(row.numbers),
  sparsevec: (row) => pgvector.toSql(new SparseVector(row.numbers)),
  bit: (row) => row.flags.join(''),
};
const parametersOf = (row) => Object.values(PARAMETERS).map((parameter) => parameter(row));

function assertClose(found, expected) {
  assert.equal(found.length, expected.length);
  const isClose = (value, i) => Math.abs(value - expected[i]) <= 1e-5 * (1 + Math.abs(expected[i]));
  assert.ok(found.every(isClose), `${found} is not ${expected}`);
}

// The rows found are the nearest, in order, at the right distances.
function assertNearest(found, type, operator) {
  const key = type === 'bit' ? 'flags' : 'numbers';
  const exact = rows.map((row) => DISTANCES[operator](row[key], query[key]));
  assert.equal(new Set(found.map((row) => row.id)).size, NEAREST);
  assertClose(found.map((row) => row.distance), found.map((row) => exact[row.id - 1]));
  assertClose(found.map((row) => row.distance), [...exact].sort((a, b) => a - b).slice(0, NEAREST));
}

let pool;

before(async () => {
  const client = new pg.Client();
  await client.connect();
  await client.query('CREATE EXTENSION IF NOT EXISTS pg_alopex');
  await client.query(`CREATE TABLE items (id int PRIMARY KEY, vector vector(${DIMENSIONS}), halfvec halfvec(${DIMENSIONS}),
    sparsevec sparsevec(${DIMENSIONS}), bit bit(${BITS}))`);
  for (const row of rows) await client.query('INSERT INTO items VALUES ($1, $2, $3, $4, $5)', [row.id, ...parametersOf(row)]);
  for (const [type, operator] of SEARCHES) {
    const name = `${type}_${NAMES[operator]}_ops`;
    await client.query(`CREATE INDEX ${name} ON items USING hnsw (${type} ${name}) WITH (m = 16, ef_construction = 64)`);
  }
  await client.end();
  pool = new pg.Pool({ max: 4 });
});

after(() => pool.end());

// With a connection of the pool, in a transaction that is rolled back, so that settings end with it.
async function inTransaction(work) {
  const client = await pool.connect();
  try {
    await pgvector.registerTypes(client);
    await client.query('BEGIN');
    await client.query('SET LOCAL enable_seqscan = off');
    return await work(client);
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

test('rows come back as they were stored', () => inTransaction(async (client) => {
  const { rows: found } = await client.query('SELECT * FROM items ORDER BY id');
  assert.deepEqual(
    found.map((row) => [row.id, row.vector, row.halfvec, row.sparsevec.toArray(), row.bit]),
    rows.map((row) => [row.id, row.numbers, row.numbers, row.numbers, row.flags.join('')]),
  );
}));

for (const [type, operator] of SEARCHES) {
  test(`nearest: ${type} ${operator}`, () => inTransaction(async (client) => {
    await client.query('SET LOCAL hnsw.ef_search = 1000');
    const text = `SELECT id, ${type} ${operator} $1 AS distance FROM items ORDER BY ${type} ${operator} $1 LIMIT ${NEAREST}`;
    const plan = await client.query(`EXPLAIN ${text}`, [PARAMETERS[type](query)]);
    const lines = plan.rows.map((row) => row['QUERY PLAN']).join('\n');
    assert.match(lines, new RegExp(`Index Scan using ${type}_${NAMES[operator]}_ops `));
    const { rows: found } = await client.query({ name: `${type} ${operator}`, text, values: [PARAMETERS[type](query)] });
    assertNearest(found, type, operator);
  }));
}

test('connections of a pool search at the same time', async () => {
  await Promise.all(Array.from({ length: 12 }, () => inTransaction(async (client) => {
    await client.query('SET LOCAL hnsw.ef_search = 1000');
    const { rows: found } = await client.query(
      `SELECT id, vector <-> $1 AS distance FROM items ORDER BY distance LIMIT ${NEAREST}`, [PARAMETERS.vector(query)]);
    assertNearest(found, 'vector', '<->');
  })));
});

test('settings reach the scan', () => inTransaction(async (client) => {
  const count = async () => {
    const { rows: found } = await client.query('SELECT id FROM items ORDER BY vector <-> $1 LIMIT 100', [PARAMETERS.vector(query)]);
    return new Set(found.map((row) => row.id)).size;
  };
  await client.query('SET LOCAL hnsw.ef_search = 10');
  await client.query('SET LOCAL hnsw.iterative_scan = off');
  const once = await count();
  assert.ok(once > 0 && once <= 10, `${once} rows`);
  await client.query('SET LOCAL hnsw.iterative_scan = relaxed_order');
  assert.equal(await count(), 100);
  await client.query('SET LOCAL hnsw.iterative_scan = strict_order');
  assert.equal(await count(), 100);
}));

test('aggregates', () => inTransaction(async (client) => {
  const { rows: [found] } = await client.query('SELECT avg(vector) AS mean, sum(vector) AS total, avg(halfvec) AS half FROM items');
  const total = Array.from({ length: DIMENSIONS }, (_, i) => sum(rows.map((row) => row.numbers[i])));
  assertClose(found.total, total);
  assertClose(found.mean, total.map((value) => value / ROWS));
  found.half.forEach((value, i) => assert.ok(Math.abs(value - total[i] / ROWS) < 2e-3));
}));

test('errors have their SQLSTATE', () => inTransaction(async (client) => {
  await assert.rejects(client.query('INSERT INTO items (id, vector) VALUES (0, $1)', ['[1,2,3]']),
    { code: '22000', message: `expected ${DIMENSIONS} dimensions, not 3` });
}));
