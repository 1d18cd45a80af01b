UPDATE {table} SET lease_until = clock_timestamp() + make_interval(secs => $4)
WHERE name = $1 AND sid = $2 AND lease_token = $3
RETURNING 1
