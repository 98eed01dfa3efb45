"""The request ledger: load with faults planted in it, whose every request has a known right answer."""
