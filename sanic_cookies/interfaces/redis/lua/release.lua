-- Gives a lease up, or a place in the queue for it. KEYS[1]: the session. ARGV: token.
local key, token = KEYS[1], ARGV[1]
local f = redis.call('HMGET', key, 'lt', 'q')
local queue = f[2] or ''
if f[1] == token then
  local t = redis.call('TIME')
  hand_over(key, queue, t[1] * 1000 + math.floor(t[2] / 1000))
elseif string.find(' ' .. queue .. ' ', ' ' .. token .. ' ', 1, true) then
  queue = string.gsub(' ' .. queue .. ' ', ' ' .. string.gsub(token, '%p', '%%%0') .. ' ', ' ')
  redis.call('HSET', key, 'q', (string.match(queue, '^%s*(.-)%s*$')))
end
return 1
