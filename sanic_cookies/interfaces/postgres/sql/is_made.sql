-- Whether the table and its indexes are where create_table.sql would make them. To try that would
-- take rights which the app's user may lack, and a lock for which all who write would wait.
SELECT count(*) = 3 FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
  AND relname IN ('{table}', '{table}_expires_at', '{table}_user_key')
