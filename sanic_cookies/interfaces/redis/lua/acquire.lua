-- Takes the lease and reads the record in one step. KEYS[1]: the session.
-- ARGV: token, lease, secret hash, label.  Times in milliseconds.
-- Answers {1, record...} with the lease, {0, record...} to one whose secret does not open the
-- session (any more), nothing if there is no session. If another has the lease, or has waited
-- longer, the token goes to the end of the queue: {2, label, left}.
local key, token = KEYS[1], ARGV[1]
local f = redis.call('HMGET', key, 'v', 'h', 'b', 'c', 's', 'd', 'o', 'p', 'g', 'r', 'u',
  'lt', 'lu', 'lh', 'q')
if not f[1] then return redis.call('EXISTS', key) == 1 and 'foreign' end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local former = ARGV[3] == f[8] and f[10] == '1' and now < (tonumber(f[9]) or 0)
local opens = ARGV[3] == f[2] or former
local found = record(opens and 1 or 0, key, f, now)
if not found then return 'foreign' end
if not opens then return found end
local holder, till, label, queue = f[12] or '', tonumber(f[13]) or 0, f[14] or '', f[15] or ''
local queued = string.find(' ' .. queue .. ' ', ' ' .. token .. ' ', 1, true)
local taken = holder ~= '' and holder ~= token and till > now
local passed_over = holder ~= token and queue ~= '' and string.match(queue, '^%S+') ~= token
if taken or passed_over then
  if not queued then
    queue = queue == '' and token or queue .. ' ' .. token
    redis.call('HSET', key, 'q', queue)
  end
  if taken then return {2, label, till - now} end
  hand_over(key, queue, now)
  return {2, '', CLAIM}
end
if queued then
  queue = string.gsub(' ' .. queue .. ' ', ' ' .. string.gsub(token, '%p', '%%%0') .. ' ', ' ')
  redis.call('HSET', key, 'q', (string.match(queue, '^%s*(.-)%s*$')))
end
redis.call('HSET', key, 'lt', token, 'lu', now + ARGV[2], 'lh', ARGV[4])
return found
