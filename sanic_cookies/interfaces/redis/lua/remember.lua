-- Names a session in its user's index, on a cluster, where the two stand on different nodes.
-- KEYS[1]: the index. ARGV: sid, when it began, lifetime or ''.  Times in milliseconds.
remember(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
return 1
