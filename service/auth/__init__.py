"""Authentication by password, token, API key or single sign-on, the scopes that they give, and revocation."""
