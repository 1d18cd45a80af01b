CREATE TABLE IF NOT EXISTS {table} (
    name           text        NOT NULL DEFAULT '',
    sid            text        NOT NULL,
    version        bigint      NOT NULL DEFAULT 0,
    secret_hash    bytea       NOT NULL DEFAULT '',
    val            bytea       NOT NULL DEFAULT '',
    created_at     timestamptz NOT NULL DEFAULT now(),
    last_seen      timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    deadline       timestamptz,
    rotated_at     timestamptz NOT NULL DEFAULT now(),
    previous_hash  bytea       NOT NULL DEFAULT '',
    previous_until timestamptz NOT NULL DEFAULT now(),
    previous_reads boolean     NOT NULL DEFAULT false,
    user_key       text,
    lease_token    text,
    lease_until    timestamptz,
    lease_label    text,
    last_token     text,
    waiters        text[]      NOT NULL DEFAULT '{}',
    PRIMARY KEY (name, sid)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX IF NOT EXISTS {table}_expires_at ON {table} (expires_at);
CREATE INDEX IF NOT EXISTS {table}_user_key ON {table} (name, user_key)
    WHERE user_key IS NOT NULL;
