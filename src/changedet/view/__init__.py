"""Look at results in the browser, and review them: tiles, verdicts, a small local server."""
