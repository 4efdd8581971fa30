-- Distances of bits
SELECT B'1010' <~> B'0110' AS hamming, B'1010' <%> B'0110' AS jaccard, hamming_distance('111', '000'), jaccard_distance('1111', '0111');
SELECT B'0000' <%> B'0000' AS both_empty, B'1000' <%> B'0100' AS disjoint, B'1' <%> B'1' AS equal, B'' <~> B'' AS none, B'' <%> B'' AS of_none;
SELECT B'101'::varbit <~> B'110'::varbit AS varbit, NULL::bit <~> B'1' AS of_null;
-- Every length, against counts in SQL
SELECT count(*) AS lengths, bool_and((a <~> b) = bit_count(a # b)) AS hamming,
    bool_and((a <%> b) = CASE bit_count(a & b) WHEN 0 THEN 1 ELSE 1 - bit_count(a & b)::float8 / bit_count(a | b) END) AS jaccard
FROM (
    SELECT string_agg(((i * i + n) % 3 % 2)::text, '' ORDER BY i)::varbit AS a,
        string_agg(((i * 7 + n * i) % 5 % 2)::text, '' ORDER BY i)::varbit AS b
    FROM generate_series(1, 1200, 7) n, generate_series(1, n) i GROUP BY n
) pairs;
-- Quantized vectors, stored out of line too
CREATE TABLE quantized (id int, b bit(16000));
ALTER TABLE quantized ALTER b SET STORAGE external;
INSERT INTO quantized SELECT n, binary_quantize(array_agg(CASE WHEN i % n = 0 THEN 1 ELSE -1 END ORDER BY i)::vector)
FROM generate_series(1, 5) n, generate_series(1, 16000) i GROUP BY n;
SELECT id, bit_count(b), b <~> binary_quantize(array_fill(1, ARRAY[16000])::halfvec) AS hamming,
    b <%> binary_quantize(array_fill(1, ARRAY[16000])::vector) AS jaccard
FROM quantized ORDER BY b <~> binary_quantize(array_fill(1, ARRAY[16000])::vector);
DROP TABLE quantized;

SELECT operator, error_of(format('SELECT B''101'' %s B''0110''', operator)) FROM unnest(ARRAY['<~>', '<%>']) AS operator;
