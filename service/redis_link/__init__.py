"""What several gateways share through a Redis, which may do anything: a request loses milliseconds to it at most."""
