-- Reads a user's sessions, those with the oldest tokens at the front. KEYS[1]: the index.
-- ARGV: user, prefix of sessions, how many at once, then sids; without any, those of the index.
-- What the index names wrongly is taken out of it. Answers a list of the sids that were too many,
-- then for each that is the user's {sid, record...}.
local index, most = KEYS[1], tonumber(ARGV[3])
local sids, found = {unpack(ARGV, 4)}, {{}}
if #sids == 0 then sids = redis.call('ZRANGE', index, 0, -1) end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for i, sid in ipairs(sids) do
  local key = ARGV[2] .. sid
  local f = i <= most
    and redis.pcall('HMGET', key, 'v', 'h', 'b', 'c', 's', 'd', 'o', 'p', 'g', 'r', 'u')
  if not f then
    found[1][i - most] = sid
  elseif f[11] == ARGV[1] then
    found[#found + 1] = record(sid, key, f, now) or nil
  else
    redis.call('ZREM', index, sid)
  end
end
return found
