"""What all routes share: request bodies, headers, errors as problem details, logs."""
