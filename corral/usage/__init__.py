"""What every token cost: the ledger that reports and budgets are sums of, and the prices it is computed with.

    ledger.py       lines, recorded once
    drafts.py       what is known of a turn before its line
    accounts.py     whom a run's lines are for
    prices.py       the built-in list of prices; `wire.prices` says which counts
    pricelists.py   versions of prices, stored
    reports.py      sums of lines
    trends.py       sums of lines for charts
    periods.py      whole days of a time zone
    budgets.py      what may be spent, and whom each budget is over
    meter.py        what is spent of them
    alerts.py       warnings

Money is whole millionths of a US dollar everywhere.
"""
