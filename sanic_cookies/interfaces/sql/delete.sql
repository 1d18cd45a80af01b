DELETE FROM {table} WHERE name = $1 AND sid = $2
RETURNING expires_at > clock_timestamp()
