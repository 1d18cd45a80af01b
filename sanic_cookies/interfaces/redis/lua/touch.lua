-- Records a use, if nobody has written since. KEYS[1]: the session. ARGV: packed version, ttl in
-- milliseconds.
-- Answers 1 or 0; {user, when the token was made} for a session without an absolute end, whose
-- user's index has to live on with it. That stands under a key that only the caller knows.
local key = KEYS[1]
local r = redis.call('HGET', key, 'r')
if not r or string.sub(r, 121, 128) ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
redis.call('HSET', key, 'r', struct.pack('<dd', now, now + ARGV[2] / 1000) .. string.sub(r, 17))
redis.call('PEXPIRE', key, ARGV[2])
local deadline, _, made = struct.unpack('<ddd', r, 17)
if deadline == 0 and #r > 132 then return {string.sub(r, 133), made * 1000} end
return 1
