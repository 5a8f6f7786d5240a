"""What calls cost: prices, the ledger, reservations against the budget, the calls behind an item."""
