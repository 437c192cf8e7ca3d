"""Who may do what: logins, the tokens they give, and what ends a token before its time."""
