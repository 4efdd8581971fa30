<?php
// PHP's two ways to PostgreSQL, PDO and the functions pg_*: values of the four types there and back, nulls, batches, COPY,
// statements that the server keeps, indexes, casts, cursors, errors. The first failure ends the program.

declare(strict_types=1);

const COUNT = 300, DIMENSIONS = 8, BITS = 64, NEAREST = 10;
const TYPES = ['vector' => 'vector(8)', 'halfvec' => 'halfvec(8)', 'sparsevec' => 'sparsevec(8)', 'bit' => 'bit(64)'];
const OPERATORS = ['l2' => '<->', 'ip' => '<#>', 'cosine' => '<=>', 'l1' => '<+>', 'hamming' => '<~>', 'jaccard' => '<%>'];

set_error_handler(fn ($number, $text, $file, $line) => throw new ErrorException($text, 0, $number, $file, $line));

function check(bool $holds, string $message): void
{
    if (!$holds) {
        throw new RuntimeException($message);
    }
}

/** A row's numbers, about half of them zero, but never all, which the types hold exactly; and its bits. */
function row(): array
{
    $number = fn ($i) => mt_rand(0, 1) || $i === 0 ? (1 + mt_rand(0, 255)) / 64 * (mt_rand(0, 1) && $i ? -1 : 1) : 0.0;
    return [array_map($number, range(0, DIMENSIONS - 1)), array_map(fn () => mt_rand(0, 1), range(1, BITS))];
}

/** The text of a row's value of a type. */
function text(array $row, string $type): string
{
    [$numbers, $bits] = $row;
    $places = array_filter($numbers, fn ($number) => $number != 0);
    return match ($type) {
        'bit' => implode('', $bits),
        'sparsevec' => '{' . implode(',', array_map(fn ($i, $n) => ($i + 1) . ":$n", array_keys($places), $places)) . '}/' . DIMENSIONS,
        default => '[' . implode(',', $numbers) . ']',
    };
}

function texts(array $row): array
{
    return array_map(fn ($type) => text($row, $type), array_keys(TYPES));
}

function sum(array $a, array $b, callable $of): float
{
    return array_sum(array_map($of, $a, $b));
}

function dot(array $a, array $b): float
{
    return sum($a, $b, fn ($x, $y) => $x * $y);
}

function exact(string $distance, array $a, array $b): float
{
    return match ($distance) {
        'l2' => sqrt(sum($a, $b, fn ($x, $y) => ($x - $y) ** 2)),
        'ip' => -dot($a, $b),
        'cosine' => 1 - dot($a, $b) / sqrt(dot($a, $a) * dot($b, $b)),
        'l1', 'hamming' => sum($a, $b, fn ($x, $y) => abs($x - $y)),
        'jaccard' => 1 - dot($a, $b) / sum($a, $b, fn ($x, $y) => max($x, $y)),
    };
}

/** Each type with each of its distances. */
function searches(): array
{
    $distances = fn ($type) => $type === 'bit' ? ['hamming', 'jaccard'] : ['l2', 'ip', 'cosine', 'l1'];
    return array_merge(...array_map(fn ($type) => array_map(fn ($d) => [$type, $d], $distances($type)), array_keys(TYPES)));
}

/** Rows of an id and a distance are the nearest ones, in order, each once and at its distance. */
function check_nearest(array $found, array $rows, array $query, string $type, string $distance, int $count = NEAREST): void
{
    $part = $type === 'bit' ? 1 : 0;
    $distances = array_map(fn ($row) => exact($distance, $row[$part], $query[$part]), $rows);
    $sorted = $distances;
    sort($sorted);
    check(count($found) === $count, "$type $distance: " . count($found) . ' rows');
    check(count(array_unique(array_column($found, 0))) === $count, "$type $distance: a row twice");
    foreach ($found as $place => [$id, $at]) {
        check(abs((float) $at - $distances[$id]) < 1e-5, "$type $distance: row $id at $at, not $distances[$id]");
        check(abs((float) $at - $sorted[$place]) < 1e-5, "$type $distance: place $place at $at, not $sorted[$place]");
    }
}

function nearest(string $type, string $distance, string $query, string $more = ' LIMIT ' . NEAREST): string
{
    $at = $type . ' ' . OPERATORS[$distance] . ' ' . $query;
    return "SELECT id, $at FROM items ORDER BY $at$more";
}

mt_srand(7);
$rows = array_map(fn () => row(), range(1, COUNT));
$query = row();
$columns = implode(', ', array_keys(TYPES));
$table = 'id int PRIMARY KEY, ' . implode(', ', array_map(fn ($name, $type) => "$name $type", array_keys(TYPES), TYPES));
$address = implode(' ', array_map(fn ($key, $name) => "$key=" . getenv($name), ['host', 'port', 'user', 'dbname'],
    ['PGHOST', 'PGPORT', 'PGUSER', 'PGDATABASE']));
$passed = 0;

$pg = pg_connect($address);
pg_query($pg, 'CREATE EXTENSION pg_alopex');
pg_query($pg, "CREATE TABLE items ($table); CREATE TABLE copied ($table); CREATE TABLE bound ($table)");

// COPY, of lines as PHP makes them; a null is \N.
$line = fn ($id, $row) => $id . "\t" . implode("\t", $row) . "\n";
$lines = array_map(fn ($id, $row) => $line($id, texts($row)), array_keys($rows), $rows);
check(pg_copy_from($pg, 'copied', $lines), 'COPY FROM');
$copied = pg_copy_to($pg, 'copied');
sort($copied);
sort($lines);
check($copied === $lines, 'COPY TO gives what COPY FROM took');
$passed++;

// Parameters of a prepared statement, nulls among them.
pg_prepare($pg, 'add', 'INSERT INTO bound VALUES ($1, $2, $3, $4, $5)');
foreach ($rows as $id => $row) {
    pg_execute($pg, 'add', [$id, ...texts($row)]);
}
pg_execute($pg, 'add', [COUNT, null, null, null, null]);
$same = pg_query($pg, 'SELECT count(*) FROM bound JOIN copied USING (id, ' . $columns . ')');
check(pg_fetch_result($same, 0, 0) === (string) COUNT, 'values bound are the values copied');
$null = pg_query_params($pg, "SELECT $columns FROM bound WHERE id = $1", [COUNT]);
check(pg_fetch_row($null) === [null, null, null, null], 'nulls come back');
$passed++;

// PDO, with placeholders that the server binds, and with values that PDO writes into the statement.
$options = [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_NUM];
foreach ([false, true] as $emulates) {
    $pdo = new PDO("pgsql:$address", null, null, $options + [PDO::ATTR_EMULATE_PREPARES => $emulates]);
    $pdo->exec('TRUNCATE items');
    $pdo->beginTransaction();
    $insert = $pdo->prepare('INSERT INTO items VALUES (?, ?, ?, ?, ?)');
    foreach ($rows as $id => $row) {
        $insert->execute([$id, ...texts($row)]);
    }
    $pdo->commit();
    foreach ($pdo->query("SELECT id, $columns FROM items") as $stored) {
        check(array_slice($stored, 1) === texts($rows[$stored[0]]), "PDO: row $stored[0] comes back");
    }
    check($pdo->query('SELECT count(*) FROM items')->fetchColumn() === COUNT, 'PDO: all rows are there');
    $passed++;

    foreach (searches() as [$type, $distance]) {
        $class = "{$type}_{$distance}_ops";
        $pdo->exec("CREATE INDEX IF NOT EXISTS $class ON items USING hnsw ($type $class)");
        $pdo->exec('SET enable_seqscan = off; SET hnsw.ef_search = 200');
        $value = text($query, $type);
        $statement = $pdo->prepare(nearest($type, $distance, "CAST(:query AS " . TYPES[$type] . ")"));
        // More often than the server plans for each value, and from the sixth time on by a plan that knows none.
        for ($i = 0; $i < 8; $i++) {
            $asked = $i === 7 ? $query : row();
            $statement->execute(['query' => text($asked, $type)]);
            check_nearest($statement->fetchAll(), $rows, $asked, $type, $distance);
        }
        $plan = $pdo->query('EXPLAIN ' . nearest($type, $distance, "'$value'"))->fetchAll(PDO::FETCH_COLUMN);
        check(str_contains(implode("\n", $plan), "Index Scan using $class on items"), "$class is used: " . implode("\n", $plan));
        $passed++;
    }

    // A cursor over all rows.
    $pdo->beginTransaction();
    $pdo->exec('DECLARE near CURSOR FOR ' . nearest('vector', 'l2', "'" . text($query, 'vector') . "'", ''));
    $found = [];
    while ($some = $pdo->query('FETCH 37 FROM near')->fetchAll()) {
        array_push($found, ...$some);
    }
    $pdo->commit();
    check_nearest($found, $rows, $query, 'vector', 'l2', COUNT);
    $passed++;

    foreach (['[1,2]' => '22000', '[1,x]' => '22P02', '' => '22P02'] as $wrong => $state) {
        try {
            $pdo->prepare('UPDATE items SET vector = ?')->execute([$wrong]);
            check(false, "PDO: '$wrong' is taken");
        } catch (PDOException $error) {
            check($error->getCode() === $state, "PDO: '$wrong' is {$error->getCode()}, not $state: {$error->getMessage()}");
        }
    }
    $passed++;
}

// The same indexes by the functions.
pg_query($pg, 'SET enable_seqscan = off; SET hnsw.ef_search = 200');
foreach (searches() as [$type, $distance]) {
    $found = pg_query_params($pg, nearest($type, $distance, '$1'), [text($query, $type)]);
    check_nearest(pg_fetch_all($found, PGSQL_NUM), $rows, $query, $type, $distance);
    $passed++;
}
check(@pg_send_query_params($pg, 'UPDATE items SET vector = $1', ['[1,2]']) !== false, 'a statement is sent');
$refused = pg_get_result($pg);
check(pg_result_error_field($refused, PGSQL_DIAG_SQLSTATE) === '22000', 'a vector of other dimensions is refused');
check(str_contains(pg_result_error($refused), 'expected 8 dimensions, not 2'), 'and why: ' . pg_result_error($refused));
$passed++;

echo "php: $passed passed, 0 failed\n";
