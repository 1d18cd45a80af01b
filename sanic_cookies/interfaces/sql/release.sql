UPDATE {table} SET lease_token = NULL
WHERE name = $1 AND sid = $2 AND lease_token = $3
