-- Stands before what takes a line, or a lease, apart.
-- Who has the lease, and who waits for it.
local function parts(line)
  return string.match(line or '', '^(%S*)%s*(.-)%s*$')
end
local function waits(queue, token)
  return string.find(' ' .. queue .. ' ', ' ' .. token .. ' ', 1, true)
end
local function without(queue, token)
  local at = waits(queue, token)
  if not at then return queue end
  local before, behind = string.sub(queue, 1, at - 1), string.sub(queue, at + #token + 1)
  return behind == '' and string.sub(before, 1, -2) or before .. behind
end
-- Until when a lease lasts, in milliseconds, and on which label.
local function lease(text)
  local seconds, micros, ms, label = string.match(text or '', '^(%d+) (%d+) (%d+) (.*)$')
  if not seconds then return 0, '' end
  return seconds * 1000 + micros / 1000 + ms, label
end
