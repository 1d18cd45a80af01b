"""Who is logged in: `AuthSession`, its guards, and where else a user is signed in."""
