-- Locks the sessions that a transaction is going to write or to delete, in the order in which all
-- do it, so that no two can wait for each other; answers those that (still) are the user's.
WITH locked AS MATERIALIZED (
    SELECT sid, user_key FROM {table}
    WHERE name = $1 AND sid = ANY ($3::text[])
    ORDER BY sid
    FOR UPDATE
)
SELECT sid FROM locked WHERE user_key = $2
