-- From the table of four columns (created_at, expires_at, sid, val) that was made by hand.
-- Rows are kept. Times without a zone were written as UTC; text values keep their bytes.
DO $$
DECLARE
    column_type text;
    key_name text;
BEGIN
    FOR column_type, key_name IN
        SELECT format_type(atttypid, NULL), attname FROM pg_attribute
        WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped
    LOOP
        IF column_type = 'timestamp without time zone' THEN
            EXECUTE format('ALTER TABLE {table} ALTER COLUMN %I TYPE timestamptz '
                           'USING %I AT TIME ZONE ''UTC''', key_name, key_name);
        ELSIF key_name = 'val' AND column_type <> 'bytea' THEN
            ALTER TABLE {table} ALTER COLUMN val DROP DEFAULT;
            ALTER TABLE {table} ALTER COLUMN val TYPE bytea
                USING convert_to(coalesce(val::text, ''), 'UTF8');
        ELSIF key_name = 'sid' AND column_type <> 'text' THEN
            ALTER TABLE {table} ALTER COLUMN sid TYPE text;
        END IF;
    END LOOP;
END
$$;
UPDATE {table} SET expires_at = now() WHERE expires_at IS NULL;
UPDATE {table} SET created_at = now() WHERE created_at IS NULL;
UPDATE {table} SET val = '' WHERE val IS NULL;
ALTER TABLE {table}
    ADD COLUMN IF NOT EXISTS name           text        NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS version        bigint      NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS secret_hash    bytea       NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS last_seen      timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS deadline       timestamptz,
    ADD COLUMN IF NOT EXISTS rotated_at     timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS previous_hash  bytea       NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS previous_until timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN IF NOT EXISTS previous_reads boolean     NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS user_key       text,
    ADD COLUMN IF NOT EXISTS lease_token    text,
    ADD COLUMN IF NOT EXISTS lease_until    timestamptz,
    ADD COLUMN IF NOT EXISTS lease_label    text,
    ADD COLUMN IF NOT EXISTS last_token     text,
    ADD COLUMN IF NOT EXISTS waiters        text[]      NOT NULL DEFAULT '{}',
    ALTER COLUMN expires_at SET NOT NULL,
    ALTER COLUMN val SET NOT NULL,
    ALTER COLUMN val SET DEFAULT '',
    ALTER COLUMN sid SET NOT NULL,
    ALTER COLUMN created_at SET DEFAULT now(),
    ALTER COLUMN created_at SET NOT NULL;
DO $$
DECLARE
    old_key text;
BEGIN
    SELECT conname INTO old_key FROM pg_constraint
    WHERE conrelid = '{table}'::regclass AND contype = 'p'
      AND pg_get_constraintdef(oid) <> 'PRIMARY KEY (name, sid)';
    IF old_key IS NOT NULL THEN
        EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %I', old_key);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_constraint
                   WHERE conrelid = '{table}'::regclass AND contype = 'p') THEN
        ALTER TABLE {table} ADD PRIMARY KEY (name, sid);
    END IF;
END
$$;
ALTER TABLE {table} SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX IF NOT EXISTS {table}_expires_at ON {table} (expires_at);
CREATE INDEX IF NOT EXISTS {table}_user_key ON {table} (name, user_key)
    WHERE user_key IS NOT NULL;
