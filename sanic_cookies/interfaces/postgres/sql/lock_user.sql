-- For this transaction only, so it works behind a transaction pooler.
SELECT pg_advisory_xact_lock(hashtextextended($1 || chr(1) || $2, 0))
