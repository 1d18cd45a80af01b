-- Replaces an older record that exists, under a lease if a token is given. KEYS[1]: the session,
-- KEYS[2]: the user's index, if it is to name the session.
-- ARGV: version, hash, payload, has payload, ttl, renew, lifetime or '', rotated, previous hash,
--   grace, previous reads, user or '', lease token or '', release, lease; with a new token or
--   expiry also: sid, prefix of sessions, most sessions or '', end the oldest for it.
-- Times in milliseconds.
-- Without release the lease is prolonged. Answers an outcome, or the sids that were ended to make
-- room for one that was saved.
local key, index, token = KEYS[1], KEYS[2], ARGV[13]
local f = redis.call('HMGET', key, 'v', 'lt', 'll', 'q', 'c')
if not f[1] then return redis.call('EXISTS', key) == 1 and 'foreign' or 'gone' end
if token ~= '' and f[2] ~= token then
  -- A retry of a commit that did happen, or a holder whose lease has gone to somebody else.
  return f[3] == token and 'saved' or 'lost'
end
if tonumber(f[1]) >= tonumber(ARGV[1]) then
  -- The same write once more, whose first reply was lost; not another one of the same version.
  local again = token ~= '' and f[1] == ARGV[1]
    and (ARGV[4] ~= '1' or redis.call('HGET', key, 'b') == ARGV[3])
    and (ARGV[8] ~= '1' or redis.call('HGET', key, 'h') == ARGV[2])
  return again and 'saved' or 'stale'
end
local ended = {}
if index and ARGV[18] ~= '' then
  ended = make_room(index, ARGV[17], ARGV[16], ARGV[12], tonumber(ARGV[18]), ARGV[19])
  if not ended then return 'full' end
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local w = {'v', ARGV[1], 'u', ARGV[12]}
local function put(field, value)
  w[#w + 1] = field
  w[#w + 1] = value
end
if ARGV[4] == '1' then put('b', ARGV[3]) end
if ARGV[6] == '1' then
  put('s', now)
  put('d', ARGV[7] == '' and '' or now + ARGV[7])
end
if ARGV[8] == '1' then
  put('h', ARGV[2])
  put('o', now)
  put('p', ARGV[9])
  put('g', now + ARGV[10])
  put('r', ARGV[11])
end
local release = token ~= '' and ARGV[14] == '1'
if release then
  put('lt', '')
  put('ll', token)
elseif token ~= '' then
  put('lu', now + ARGV[15])
end
redis.call('HSET', key, unpack(w))
if ARGV[6] == '1' then redis.call('PEXPIRE', key, ARGV[5]) end
if index then remember(index, ARGV[16], f[5], ARGV[7] ~= '' and ARGV[7] or ARGV[5]) end
if index and ARGV[8] == '1' then tidy(index, ARGV[17]) end
if release and f[4] and f[4] ~= '' then hand_over(key, f[4], now) end
if ARGV[8] == '1' then tell(ARGV[17], ARGV[16]) end
return #ended > 0 and ended or 'saved'
