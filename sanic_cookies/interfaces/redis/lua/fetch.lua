-- Reads a record. KEYS[1]: the session.
-- Answers {1, record...}; nothing if there is no such session.
local f = redis.call('HMGET', KEYS[1], 'v', 'h', 'b', 'c', 's', 'd', 'o', 'p', 'g', 'r', 'u')
if not f[1] then return redis.call('EXISTS', KEYS[1]) == 1 and 'foreign' end
local t = redis.call('TIME')
return record(1, KEYS[1], f, t[1] * 1000 + math.floor(t[2] / 1000)) or 'foreign'
