-- A page of the live sessions in the order of the primary key, after the session ($1, $2); of one
-- name only unless $3 is NULL. What only remembers that a session has ended ($5) is left out.
SELECT version, secret_hash, val, date_part('epoch', created_at) AS created_at,
       date_part('epoch', last_seen) AS last_seen, date_part('epoch', expires_at) AS expires_at,
       date_part('epoch', deadline) AS deadline, date_part('epoch', rotated_at) AS rotated_at,
       previous_hash, date_part('epoch', previous_until) AS previous_until, previous_reads,
       user_key, date_part('epoch', clock_timestamp()) AS now, name, sid
FROM {table}
WHERE (name, sid) > ($1, $2) AND ($3::text IS NULL OR name = $3)
  AND expires_at > clock_timestamp() AND version < $5
ORDER BY name, sid
LIMIT $4
