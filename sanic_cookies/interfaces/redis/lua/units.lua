-- Stands before the scripts that are given seconds: Redis wants whole milliseconds.
local function ms(seconds)
  return seconds > 0 and math.max(1, math.floor(seconds * 1000 + 0.5)) or 0
end
