-- Replaces an older record that exists, under a lease if a token is given. KEYS[1]: the session,
-- KEYS[2]: the user's index, if it is to name the session.
-- ARGV: numbers, lease token or '', user or '', payload; with a new token or expiry also: hash,
--   previous hash, sid, prefix of sessions, most sessions or '', end the oldest for it.
-- The numbers are packed in one string: has payload, renew, rotated, previous reads, release;
--   version, and in seconds ttl, lifetime or infinity, grace, lease.
-- Without release the lease is prolonged. Answers an outcome, or the sids that were ended to make
-- room for one that was saved.
local key, index, token, user, sid, prefix = KEYS[1], KEYS[2], ARGV[2], ARGV[3], ARGV[7], ARGV[8]
local filled, renew, rotated, reads, release, version, ttl, lifetime, grace, lease =
  struct.unpack('<BBBBBddddd', ARGV[1])
local function ms(seconds)
  return seconds > 0 and math.max(1, math.floor(seconds * 1000 + 0.5)) or 0
end
local f = redis.call('HMGET', key, 'v', 'lt', 'll', 'q', 'o')
if not f[1] then return redis.call('EXISTS', key) == 1 and 'foreign' or 'gone' end
if token ~= '' and f[2] ~= token then
  -- A retry of a commit that did happen, or a holder whose lease has gone to somebody else.
  return f[3] == token and 'saved' or 'lost'
end
if tonumber(f[1]) >= version then
  -- The same write once more, whose first reply was lost; not another one of the same version.
  local again = token ~= '' and tonumber(f[1]) == version
    and (filled == 0 or redis.call('HGET', key, 'b') == ARGV[4])
    and (rotated == 0 or redis.call('HGET', key, 'h') == ARGV[5])
  return again and 'saved' or 'stale'
end
local ended = {}
if index and ARGV[9] ~= '' then
  ended = make_room(index, prefix, sid, user, tonumber(ARGV[9]), ARGV[10])
  if not ended then return 'full' end
end
local given_up = token ~= '' and release == 1
local passes_on = given_up and f[4] and f[4] ~= ''
local now -- asked for only where it is written down: that is a seventh of this script
if renew == 1 or rotated == 1 or passes_on or not given_up then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local w = {'v', string.format('%d', version), 'u', user}
local function put(field, value)
  w[#w + 1] = field
  w[#w + 1] = value
end
if filled == 1 then put('b', ARGV[4]) end
if renew == 1 then
  put('s', now)
  put('d', lifetime == math.huge and '' or now + ms(lifetime))
end
if rotated == 1 then
  put('h', ARGV[5])
  put('o', now)
  put('p', ARGV[6])
  put('g', now + ms(grace))
  put('r', reads)
end
if given_up then
  put('lt', '')
  put('ll', token)
elseif token ~= '' then
  put('lu', now + ms(lease))
end
redis.call('HSET', key, unpack(w))
if renew == 1 then redis.call('PEXPIRE', key, ms(ttl)) end
if index then
  local made = rotated == 1 and now or f[5]
  remember(index, sid, made, ms(lifetime == math.huge and ttl or lifetime))
  if rotated == 1 then tidy(index, prefix) end
end
if passes_on then hand_over(key, f[4], now) end
if rotated == 1 then tell(prefix, sid) end
return #ended > 0 and ended or 'saved'
