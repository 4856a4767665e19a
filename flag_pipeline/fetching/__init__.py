"""One source over HTTP: client, limiter, circuit breaker, retry, host policy. Uses aiohttp and knows no flags."""
