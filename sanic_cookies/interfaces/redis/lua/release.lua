-- Gives a lease up, or a place in the line for it. KEYS[1]: the session. ARGV: token.
local key, token = KEYS[1], ARGV[1]
local line = redis.call('HGET', key, 'l')
if line == token then
  redis.call('HSET', key, 'l', '')
  return 1
end
if not line then return 1 end
