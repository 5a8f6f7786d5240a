"""How fast a provider may be asked: concurrency, rates, throttling, retries, the circuit breaker."""
