-- Goes on where acquire.lua found a former secret, or a line. The line is who has the lease, then
-- those who wait for it.
local now = t[1] * 1000 + t[2] / 1000
local ends, reads = struct.unpack('<dd', r, 41)
local former = ARGV[2] == string.sub(r, 89, 120) and reads == 1 and now < ends * 1000
if not current and not former then return {at .. ' ' .. r .. payload} end
local holder, queue = parts(line)
local till, label = lease(redis.call('HGET', key, 'lu'))
local taken = holder ~= '' and holder ~= token and till > now
local passed_over = holder ~= token and queue ~= '' and string.match(queue, '^%S+') ~= token
if taken or passed_over then
  if not waits(queue, token) then
    queue = queue == '' and token or queue .. ' ' .. token
    redis.call('HSET', key, 'l', holder .. ' ' .. queue)
  end
  if taken then return {label, till - now} end
  hand_over(key, queue, at)
  return {'', CLAIM}
end
queue = without(queue, token)
redis.call('HSET', key, 'l', queue == '' and token or token .. ' ' .. queue,
  'lu', at .. ' ' .. ARGV[3])
return at .. ' ' .. r .. payload
