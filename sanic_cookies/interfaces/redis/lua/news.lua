-- Stands before the scripts that end a session or change its token: tells the processes that watch
-- sessions with keys of this prefix which one it is.
local function tell(prefix, sid)
  -- A server that forbids the channel is no reason to fail: watchers also look by themselves.
  redis.pcall('PUBLISH', 'sanic_cookies:news:' .. prefix, sid)
end
