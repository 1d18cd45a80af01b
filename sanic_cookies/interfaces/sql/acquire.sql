-- One statement takes the lease and reads, and tells a stranger (0) and a busy session (2) from
-- a missing one (no row).
WITH held AS (
    UPDATE {table}
    SET lease_token = $3, lease_until = clock_timestamp() + $4::interval, lease_label = $5
    WHERE name = $1 AND sid = $2 AND expires_at > clock_timestamp()
      AND ($6 = secret_hash
           OR $6 = previous_hash AND previous_reads AND previous_until > clock_timestamp())
      AND (lease_token IS NULL OR lease_token = $3 OR lease_until <= clock_timestamp())
    RETURNING 1 AS state, '' AS label, 0::float8 AS seconds,
       version, secret_hash, val, created_at, last_seen, expires_at, deadline, rotated_at,
       previous_hash, previous_until, previous_reads, user_key
)
SELECT *, clock_timestamp() AS now FROM held
UNION ALL
SELECT CASE
           WHEN $6 = secret_hash
             OR $6 = previous_hash AND previous_reads AND previous_until > clock_timestamp()
           THEN 2 ELSE 0
       END,
       coalesce(lease_label, ''),
       greatest(0, extract(epoch FROM lease_until - clock_timestamp()))::float8,
       version, secret_hash, val, created_at, last_seen, expires_at, deadline, rotated_at,
       previous_hash, previous_until, previous_reads, user_key,
       clock_timestamp()
FROM {table}
WHERE name = $1 AND sid = $2 AND expires_at > clock_timestamp()
  AND NOT EXISTS (SELECT FROM held)
