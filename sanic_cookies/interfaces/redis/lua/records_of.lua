-- Reads a user's sessions, those with the oldest tokens at the front. KEYS[1]: the index.
-- ARGV: user, prefix of sessions, how many at once, then sids; without any, those of the index.
-- What the index names wrongly is taken out of it. Answers a list of the sids that were too many,
-- then for each that is the user's its sid, and what fetch.lua answers.
local index, most = KEYS[1], tonumber(ARGV[3])
local sids, found = {unpack(ARGV, 4)}, {{}}
if #sids == 0 then sids = redis.call('ZRANGE', index, 0, -1) end
local t = redis.call('TIME')
local at = t[1] .. ' ' .. t[2] .. ' '
for i, sid in ipairs(sids) do
  local f = i <= most and redis.pcall('HMGET', ARGV[2] .. sid, 'r', 'b')
  if not f then
    found[1][i - most] = sid
  elseif f[1] and #f[1] >= 132 and string.sub(f[1], 133) == ARGV[1] then
    found[#found + 1] = f[2] and {sid, at .. f[1] .. f[2]} or nil
  else
    redis.call('ZREM', index, sid)
  end
end
return found
