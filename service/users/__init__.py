"""The users database: users, API keys and feedback, and the commands that manage users and keys."""
