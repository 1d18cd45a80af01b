-- fetch.sql for several requests at once; see acquire_joined.sql for what all such statements have
-- in common.
SELECT t.*, n, false AS passed_over
FROM jsonb_array_elements(convert_from($1, 'UTF8')::jsonb) WITH ORDINALITY AS r (a, n)
CROSS JOIN LATERAL (
    SELECT version, secret_hash, val, date_part('epoch', created_at) AS created_at,
           date_part('epoch', last_seen) AS last_seen, date_part('epoch', expires_at) AS expires_at,
           date_part('epoch', deadline) AS deadline, date_part('epoch', rotated_at) AS rotated_at,
           previous_hash, date_part('epoch', previous_until) AS previous_until, previous_reads,
           user_key, date_part('epoch', clock_timestamp()) AS now
    FROM {table} AS t
    WHERE t.name = a ->> 0 AND t.sid = a ->> 1 AND expires_at > clock_timestamp()
    LIMIT 1
) AS t
WHERE n % 1 = 0
