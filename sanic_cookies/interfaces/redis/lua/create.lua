-- Stores a new record; refuses a sid that is taken. KEYS[1]: the session, KEYS[2]: the user's
-- index, if it is to name the session.
-- ARGV: seconds packed in one string (ttl, lifetime or infinity, age), the end of the record from
--   the hash on, payload; with an index also: sid, prefix of sessions, most sessions or '', end the
--   oldest for it.
-- Answers 1 or 0, 'full', or the sids that were ended to make room.
-- The same hash again is a retry whose first reply was lost: it is answered alike.
local key, index, tail = KEYS[1], KEYS[2], ARGV[2]
if redis.call('EXISTS', key) == 1 then
  local r = redis.call('HGET', key, 'r')
  return r and string.sub(r, 57, 88) == string.sub(tail, 1, 32) and 1 or 0
end
local ttl, lifetime, age = struct.unpack('<ddd', ARGV[1])
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local deadline = lifetime == math.huge and 0 or now + lifetime
local r = struct.pack('<ddddddd', now, now + ttl, deadline, now - age, now, 0, 0) .. tail
if not index then
  redis.call('HSET', key, 'r', r, 'b', ARGV[3])
  redis.call('PEXPIRE', key, ms(ttl))
  return 1
end
