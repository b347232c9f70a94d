"""Forms of the hub's database, oldest first; a migration is never changed once it was released."""
