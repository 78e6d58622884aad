"""The in-platform runner: agents whose model is asked through a provider's API, in this process.

    engine.py         one more runner: its row, its poll, its attempts, the commands for them
    attempt.py        one attempt, from its assignment to its one last event
    loop.py           the turns of an attempt: ask the model, keep the answer, carry out its calls, and again
    window.py         how full the model's window is, and what goes when it is
    conversation.py   what happened, entry by entry (entries.py), as it is stored
    journal.py        events, usage and entries: one transaction each, fenced by the lease
    tools.py          what a model may call: Corral's own tools (toolset.py) and those of MCP servers
    approvals.py      what people are asked before a tool is called
    limits.py         turns, cost and time
    provider.py       the interface over the SDKs: anthropic.py, openai.py, openrouter.py
    catalog.py        what models can do

The SDKs are imported where they are used: each costs a second.
"""
