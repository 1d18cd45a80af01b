-- Stands before the scripts that read a record. Answers {mark, numbers, hash, payload, previous
-- hash, user} of the fields that HMGET gave; nothing if they are not ours. The numbers go as one
-- string of doubles, times in seconds: read one by one they would be half of what a web server
-- spends on a reply.
local function numbers(f, now, ttl)
  local version, created, seen = f[1] + 0, f[4] / 1000, f[5] / 1000
  local deadline = f[6] == '' and 0 or f[6] / 1000
  local rotated, till = f[7] / 1000, f[9] / 1000
  local sum = version + created + seen + deadline + rotated + till
  assert(sum < math.huge and sum > -math.huge)
  return struct.pack('<ddddddddd', version, now / 1000, (now + ttl) / 1000, created, seen, deadline,
    rotated, till, f[10] == '1' and 1 or 0)
end
local function record(mark, key, f, now)
  local ok, packed = pcall(numbers, f, now, redis.call('PTTL', key))
  return ok and {mark, packed, f[2], f[3], f[8], f[11]}
end
