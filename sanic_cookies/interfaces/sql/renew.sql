UPDATE {table} SET lease_until = clock_timestamp() + $4::interval
WHERE name = $1 AND sid = $2 AND lease_token = $3
RETURNING 1
