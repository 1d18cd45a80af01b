-- Says whether there is a session. KEYS[1]: the session. By a script, since these go to the primary:
-- a replica may not have heard yet of one that has just begun.
return redis.call('EXISTS', KEYS[1])
