-- Names a session in its user's index, by itself: on a cluster the two stand on different nodes.
-- KEYS[1]: the index. ARGV: sid, when its token was made, how long it may live.  Times in milliseconds.
remember(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
return 1
