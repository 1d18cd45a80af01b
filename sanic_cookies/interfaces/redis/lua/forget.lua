-- Takes sids out of a user's index. KEYS[1]: the index. ARGV: sids.
return redis.call('ZREM', KEYS[1], unpack(ARGV))
