-- Reads the sids in a user's index. KEYS[1]: the index.
return redis.call('ZRANGE', KEYS[1], 0, -1)
