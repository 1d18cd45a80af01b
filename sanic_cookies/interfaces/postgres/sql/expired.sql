SELECT count(*) FROM {table} WHERE expires_at <= clock_timestamp()
