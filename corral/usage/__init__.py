"""What every token cost: the ledger that reports and budgets are sums of."""
