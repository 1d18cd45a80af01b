-- Reads a record. KEYS[1]: the session.
-- Answers time, record and payload, one behind the other; nothing if there is no such session. The
-- time is TIME's two numbers, each with a space behind it. A list would cost as much as the read.
local f = redis.call('HMGET', KEYS[1], 'r', 'b')
if not f[1] or not f[2] or #f[1] < 132 then
  return redis.call('EXISTS', KEYS[1]) == 1 and 'foreign'
end
local t = redis.call('TIME')
return t[1] .. ' ' .. t[2] .. ' ' .. f[1] .. f[2]
