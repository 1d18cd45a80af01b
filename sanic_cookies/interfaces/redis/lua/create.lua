-- Stores a new record; refuses a sid that is taken. KEYS[1]: the session, KEYS[2]: the user's
-- index, if it is to name the session.
-- ARGV: version, hash, payload, ttl, lifetime or '', age, user or '', sid, prefix of sessions,
--   most sessions or '', end the oldest for it.  Times in milliseconds.
-- Answers 1 or 0, 'full', or the sids that were ended to make room.
-- The same hash again is a retry whose first reply was lost: it is answered alike.
local key, index = KEYS[1], KEYS[2]
if redis.call('EXISTS', key) == 1 then
  return redis.call('HGET', key, 'h') == ARGV[2] and 1 or 0
end
local ended = {}
if index and ARGV[10] ~= '' then
  ended = make_room(index, ARGV[9], ARGV[8], ARGV[7], tonumber(ARGV[10]), ARGV[11])
  if not ended then return 'full' end
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local deadline = ''
if ARGV[5] ~= '' then deadline = now + ARGV[5] end
redis.call('HSET', key, 'v', ARGV[1], 'h', ARGV[2], 'b', ARGV[3], 'c', now - ARGV[6], 's', now,
  'd', deadline, 'o', now, 'p', '', 'g', 0, 'r', 0, 'u', ARGV[7])
redis.call('PEXPIRE', key, ARGV[4])
if index then
  remember(index, ARGV[8], now, ARGV[5] ~= '' and ARGV[5] or ARGV[4])
  tidy(index, ARGV[9])
end
return #ended > 0 and ended or 1
