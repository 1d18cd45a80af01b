SELECT count(*) FILTER (WHERE live) AS sessions,
       count(DISTINCT (name, user_key)) FILTER (WHERE live AND user_key IS NOT NULL) AS users,
       count(*) FILTER (WHERE NOT live) AS expired,
       date_part('epoch', now() - min(created_at) FILTER (WHERE live)) AS oldest,
       coalesce(sum(octet_length(val)) FILTER (WHERE live), 0)::bigint AS payload_bytes,
       -- The parent of partitions is empty, and what is none has no tree.
       coalesce((SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('{table}')),
                pg_total_relation_size('{table}'))::bigint AS store_bytes
FROM (
    SELECT *, expires_at > clock_timestamp() AS live FROM {table}
    WHERE ($1::text IS NULL OR name = $1) AND version < $2
) AS every
