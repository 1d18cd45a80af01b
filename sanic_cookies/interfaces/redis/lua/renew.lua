-- Prolongs a lease. KEYS[1]: the session. ARGV: token, milliseconds.
local key = KEYS[1]
local f = redis.call('HMGET', key, 'l', 'lu')
if parts(f[1]) ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
local _, label = lease(f[2])
redis.call('HSET', key, 'lu', t[1] .. ' ' .. t[2] .. ' ' .. ARGV[2] .. ' ' .. label)
return 1
