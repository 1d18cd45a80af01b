-- Stands before the scripts that give a lease up. The longest waiter gets it for CLAIM
-- milliseconds, in which it must come for it; its process is woken by the channel that is the first
-- part of its token. A waiter that has died costs the others that time, once.
local CLAIM = 1000
local function hand_over(key, queue, now)
  local head, rest = string.match(queue or '', '^(%S+) ?(.*)$')
  if not head then
    redis.call('HSET', key, 'lt', '')
    return
  end
  redis.call('HSET', key, 'lt', head, 'lu', now + CLAIM, 'lh', '', 'q', rest)
  -- A server that forbids the channel is no reason to fail: waiters also look by themselves.
  redis.pcall('PUBLISH', 'sanic_cookies:wake:' .. string.match(head, '^[^.]*'), head)
end
