UPDATE {table}
SET last_seen = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => $4)
WHERE name = $1 AND sid = $2 AND version = $3 AND expires_at > clock_timestamp()
RETURNING 1
