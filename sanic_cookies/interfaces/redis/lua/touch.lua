-- Records a use, if nobody has written since. KEYS[1]: the session. ARGV: version, ttl.
-- Answers 1 or 0; {user, when the token was made} for a session without an absolute end, whose user's
-- index has to live on with it. That stands under a key that only the caller knows.
local f = redis.call('HMGET', KEYS[1], 'v', 'd', 'u', 'o')
if f[1] ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 's', t[1] * 1000 + math.floor(t[2] / 1000))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if f[2] == '' and f[3] and f[3] ~= '' then return {f[3], f[4]} end
return 1
