-- Gives a lease up. KEYS[1]: the session. ARGV: token.
if redis.call('HGET', KEYS[1], 'lt') == ARGV[1] then redis.call('HSET', KEYS[1], 'lt', '') end
return 1
