-- Reads a part of a user's sessions, those that began first at the front. KEYS[1]: the index.
-- ARGV: user, prefix of sessions, where to begin, how many.
-- What the index names wrongly is taken out of it. Answers how many were looked at, then for each
-- that is the user's {sid, now, ttl, fields...} in milliseconds.
local index, first = KEYS[1], tonumber(ARGV[3])
local sids = redis.call('ZRANGE', index, first, first + ARGV[4] - 1)
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local found = {#sids}
for _, sid in ipairs(sids) do
  local key = ARGV[2] .. sid
  local f = redis.pcall('HMGET', key, 'v', 'h', 'b', 'c', 's', 'd', 'o', 'p', 'g', 'r', 'u')
  if f[11] == ARGV[1] then
    found[#found + 1] = {sid, now, redis.call('PTTL', key), unpack(f, 1, 11)}
  else
    redis.call('ZREM', index, sid)
  end
end
return found
