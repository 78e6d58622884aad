"""What every token cost: the ledger that reports and budgets are sums of, and the prices it is computed with.

    ledger.py    lines, recorded once        accounts.py    whom a run's lines are for
    prices.py    which price counts          pricelists.py  their versions, stored
    reports.py   sums of lines               periods.py     days of time zones
"""
