-- Goes on where release.lua found others in the line.
local holder, queue = parts(line)
if holder == token then
  local t = redis.call('TIME')
  hand_over(key, queue, t[1] .. ' ' .. t[2])
elseif waits(queue, token) then
  queue = without(queue, token)
  redis.call('HSET', key, 'l', queue == '' and holder or holder .. ' ' .. queue)
end
return 1
