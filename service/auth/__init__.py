"""Who may do what: passwords, tokens, API keys, single sign-on, and what ends them before their time."""
