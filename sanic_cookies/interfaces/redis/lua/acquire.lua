-- Takes the lease and reads the record in one step. KEYS[1]: the session.
-- ARGV: token, secret hash, lease in milliseconds with the label behind it.
-- With the lease answers what fetch.lua does, to one whose secret does not open the session (any
-- more) {that}, nothing if there is no session. If another has the lease, or has waited longer, the
-- token goes to the end of the line: {label, milliseconds left}.
-- A lease that is free is taken before anything is defined or taken apart for those that are not.
local key, token = KEYS[1], ARGV[1]
local f = redis.call('HMGET', key, 'r', 'b', 'l')
local r, payload, line = f[1], f[2], f[3]
if not r or not payload or #r < 132 then
  return redis.call('EXISTS', key) == 1 and 'foreign'
end
local t = redis.call('TIME')
local at = t[1] .. ' ' .. t[2]
local current = ARGV[2] == string.sub(r, 57, 88)
if current and (not line or line == '' or line == token) then
  redis.call('HSET', key, 'l', token, 'lu', at .. ' ' .. ARGV[3])
  return at .. ' ' .. r .. payload
end
