-- Takes the lease and reads the record in one step. KEYS[1]: the session.
-- ARGV: token, lease, secret hash, label.  Times in milliseconds.
-- Answers {1, now, ttl, fields...} with the lease, {0, now, ttl, fields...} to one whose secret
-- does not open the session (any more), {2, label, left} if another holds it, nothing if there is no session.
local f = redis.call('HMGET', KEYS[1], 'v', 'h', 'b', 'c', 's', 'd', 'o', 'p', 'g', 'r', 'u')
if not f[1] then return false end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local held = 0
local former = ARGV[3] == f[8] and f[10] == '1' and now < tonumber(f[9])
if ARGV[3] == f[2] or former then
  local l = redis.call('HMGET', KEYS[1], 'lt', 'lu', 'lh')
  if l[1] and l[1] ~= '' and l[1] ~= ARGV[1] and tonumber(l[2]) > now then
    return {2, l[3], l[2] - now}
  end
  redis.call('HSET', KEYS[1], 'lt', ARGV[1], 'lu', now + ARGV[2], 'lh', ARGV[4])
  held = 1
end
return {held, now, redis.call('PTTL', KEYS[1]), unpack(f)}
