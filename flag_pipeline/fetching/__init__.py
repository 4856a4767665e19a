"""HTTP client for one source: limiter, circuit breaker, retry, host policy."""
