-- Stands before the scripts that write for a user. The index is a sorted set of sids by the time
-- their tokens were made, which each login does; what it names wrongly goes when it is read.
-- Makes room for `own` among at most `most` sessions: answers who was ended for it, or nothing if
-- nobody may be.
local function make_room(index, prefix, own, user, most, evict)
  local others = {}
  for _, sid in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    if sid ~= own then
      -- Where something else stands by now, the answer is an error, which is nobody.
      local r = redis.pcall('HGET', prefix .. sid, 'r')
      if type(r) == 'string' and string.sub(r, 133) == user then
        others[#others + 1] = sid
      else
        redis.call('ZREM', index, sid)
      end
    end
  end
  local surplus = #others - most + 1
  if surplus > 0 and evict ~= '1' then return nil end
  local ended = {}
  for i = 1, surplus do
    redis.call('DEL', prefix .. others[i])
    redis.call('ZREM', index, others[i])
    tell(prefix, others[i])
    ended[i] = others[i]
  end
  return ended
end
-- Names `sid` in the index, which lives as long as the longest session in it: as `life` says, how
-- long that may last from now if it is not prolonged.
local function remember(index, sid, made, life)
  local left = redis.call('PTTL', index)
  redis.call('ZADD', index, made, sid)
  if left < tonumber(life) then redis.call('PEXPIRE', index, life) end
end
-- Looks at two that the index names, by chance, and takes out who has ended. Called with each name
-- that is added, it leaves an index about twice as long as it has to be, not one of all who ever were.
local function tidy(index, prefix)
  -- Who may not ask has a longer index, and is no reason to fail.
  for _, sid in ipairs(redis.pcall('ZRANDMEMBER', index, 2)) do
    if redis.call('EXISTS', prefix .. sid) == 0 then redis.call('ZREM', index, sid) end
  end
end
