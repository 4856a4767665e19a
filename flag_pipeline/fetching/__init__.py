"""One source over HTTP: client, limiter, circuit breaker, retry, host policy. Knows aiohttp, and nothing of flags."""
