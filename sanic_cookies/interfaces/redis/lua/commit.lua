-- Replaces an older record that exists, under a lease if a token is given. KEYS[1]: the session,
-- KEYS[2]: the user's index, if it is to name the session.
-- ARGV: version and user as they end the record, lease token or '', payload; with more than that
-- to be written also: numbers, hash, previous hash, sid, prefix of sessions, most sessions or '',
--   end the oldest for it.
-- The numbers are packed in one string: has payload, renew, rotated, previous reads, release; and
--   in seconds ttl, lifetime or infinity, grace, lease. Without them there is a payload, and the
--   lease is given up.
-- Without release the lease is prolonged. Answers an outcome, or the sids that were ended to make
-- room for one that was saved.
-- What most writes are, new data and the lease given up for which nobody waits, is done before
-- anything is defined for the others.
local key, token, payload, more = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
local f = redis.call('HMGET', key, 'r', 'l')
local r, line = f[1], f[2]
if not r or #r < 132 then return redis.call('EXISTS', key) == 1 and 'foreign' or 'gone' end
local version, stored = struct.unpack('<d', ARGV[1]), struct.unpack('<d', r, 121)
if not more and line == token and stored < version then
  redis.call('HSET', key, 'r', string.sub(r, 1, 120) .. ARGV[1], 'b', payload, 'l', '', 'll', token)
  return 'saved'
end
