-- Prolongs a lease. KEYS[1]: the session. ARGV: token, milliseconds.
if redis.call('HGET', KEYS[1], 'lt') ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'lu', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[2])
return 1
