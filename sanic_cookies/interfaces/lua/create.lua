-- Stores a new record; refuses a sid that is taken. KEYS[1]: the session.
-- ARGV: version, hash, payload, ttl, lifetime or '', age, user or ''.  Times in milliseconds.
-- The same hash again is a retry whose first reply was lost: it is answered alike.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.call('HGET', KEYS[1], 'h') == ARGV[2] and 1 or 0
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local deadline = ''
if ARGV[5] ~= '' then deadline = now + ARGV[5] end
redis.call('HSET', KEYS[1], 'v', ARGV[1], 'h', ARGV[2], 'b', ARGV[3], 'c', now - ARGV[6], 's', now,
  'd', deadline, 'o', now, 'p', '', 'g', 0, 'r', 0, 'u', ARGV[7])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
