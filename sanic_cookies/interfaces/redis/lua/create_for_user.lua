-- Goes on where create.lua found an index that is to name the session.
local ended = {}
if ARGV[6] ~= '' then
  local user = string.sub(tail, 77)
  ended = make_room(index, ARGV[5], ARGV[4], user, tonumber(ARGV[6]), ARGV[7])
  if not ended then return 'full' end
end
redis.call('HSET', key, 'r', r, 'b', ARGV[3])
redis.call('PEXPIRE', key, ms(ttl))
remember(index, ARGV[4], math.floor(now * 1000), ms(deadline == 0 and ttl or lifetime))
tidy(index, ARGV[5])
return #ended > 0 and ended or 1
