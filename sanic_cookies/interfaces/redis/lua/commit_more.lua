-- Goes on where commit.lua found more to write, or a line, or a write that may not be.
local filled, renew, rotated, reads, release, ttl, lifetime, grace, seconds = 1, 0, 0, 0, 1
if more then
  filled, renew, rotated, reads, release, ttl, lifetime, grace, seconds =
    struct.unpack('<BBBBBdddd', more)
end
local holder, queue = parts(line)
if token ~= '' and holder ~= token then
  -- A retry of a commit that did happen, or a holder whose lease has gone to somebody else.
  return redis.call('HGET', key, 'll') == token and 'saved' or 'lost'
end
if stored >= version then
  -- The same write once more, whose first reply was lost; not another one of the same version.
  local again = token ~= '' and stored == version
    and (filled == 0 or redis.call('HGET', key, 'b') == payload)
    and (rotated == 0 or string.sub(r, 57, 88) == ARGV[5])
  return again and 'saved' or 'stale'
end
local index, sid, prefix, user, ended = KEYS[2], ARGV[7], ARGV[8], string.sub(ARGV[1], 13), {}
if index and ARGV[9] ~= '' then
  ended = make_room(index, prefix, sid, user, tonumber(ARGV[9]), ARGV[10])
  if not ended then return 'full' end
end
local t = redis.call('TIME')
local at, now = t[1] .. ' ' .. t[2], t[1] + t[2] / 1000000
local times, secret = string.sub(r, 1, 24), string.sub(r, 25, 120)
if renew == 1 then
  local deadline = lifetime == math.huge and 0 or now + lifetime
  times = struct.pack('<ddd', now, now + ttl, deadline)
end
if rotated == 1 then
  local kept = struct.pack('<ddd', now, now + grace, reads)
  secret = string.sub(secret, 1, 8) .. kept .. ARGV[5] .. ARGV[6]
end
redis.call('HSET', key, 'r', times .. secret .. ARGV[1])
if filled == 1 then redis.call('HSET', key, 'b', payload) end
if token ~= '' and release == 0 then
  local _, label = lease(redis.call('HGET', key, 'lu'))
  redis.call('HSET', key, 'lu', at .. ' ' .. ms(seconds) .. ' ' .. label)
elseif token ~= '' then
  redis.call('HSET', key, 'l', '', 'll', token)
  if queue ~= '' then hand_over(key, queue, at) end
end
if renew == 1 then redis.call('PEXPIRE', key, ms(ttl)) end
if index then
  local life = lifetime == math.huge and ttl or lifetime
  remember(index, sid, math.floor(struct.unpack('<d', secret, 9) * 1000), ms(life))
  if rotated == 1 then tidy(index, prefix) end
end
if rotated == 1 then tell(prefix, sid) end
return #ended > 0 and ended or 'saved'
