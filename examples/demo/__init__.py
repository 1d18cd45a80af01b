"""The demo: accounts, the places where one is signed in, and a race that shows what locks are for.

    python -m examples.demo

Sessions are kept in memory, or in what REDIS_URL or DATABASE_URL names; with one of these WORKERS
may be more than 1. Accounts are kept in the SQLite file that USERS_FILE names. PORT is another port
than 8000; TLS_CERTS, a directory with fullchain.pem and privkey.pem, makes it https.
"""
