-- Forgets a record, whoever holds its lease. KEYS[1]: the session. ARGV: sid, prefix of sessions.
-- Answers 1 if there was one.
local gone = redis.call('DEL', KEYS[1])
if gone == 1 then tell(ARGV[2], ARGV[1]) end
return gone
