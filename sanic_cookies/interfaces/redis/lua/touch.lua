-- Records a use, if nobody has written since. KEYS[1]: the session. ARGV: version, ttl.
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 's', t[1] * 1000 + math.floor(t[2] / 1000))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
