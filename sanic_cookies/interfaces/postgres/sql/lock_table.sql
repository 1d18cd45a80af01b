-- Has those who make or change the table take turns: each worker of a site may want to when it
-- starts, and "IF NOT EXISTS" does not see what another is just making. For this transaction only,
-- so it works behind a transaction pooler.
SELECT pg_advisory_xact_lock(hashtextextended('sanic_cookies table {table}', 0))
