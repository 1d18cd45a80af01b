-- Stands before what gives a lease up. The longest waiter gets it for CLAIM milliseconds, in which
-- it must come for it; its process is woken by the channel that is the first part of its token. A
-- waiter that has died costs the others that time, once.
local CLAIM = 1000
local function hand_over(key, queue, at)
  redis.call('HSET', key, 'l', queue, 'lu', at .. ' ' .. CLAIM .. ' ')
  local head = string.match(queue, '^%S+')
  -- A server that forbids the channel is no reason to fail: waiters also look by themselves.
  redis.pcall('PUBLISH', 'sanic_cookies:wake:' .. string.match(head, '^[^.]*'), head)
end
