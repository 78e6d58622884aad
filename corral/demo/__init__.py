"""The scripted model: a server on loopback that speaks a model provider's API and answers by script.

Real agent CLIs run against it without internet, key or cost: in the tests, and in `corral demo` for newcomers.
The prompt chooses the behaviour, in the small language of `corral.demo.script`.

    script.py        a prompt's directives → turns          (`%say hello`, `%tool Bash {"command": "ls"}`)
    newcomer.py      the turns of a prompt without directives
    choose.py        which of the two, and which turn of it
    conversation.py  what a face's request comes down to    (which script, which turn, what the tools said)
    voices.py        who speaks in a message: a person, or the client in a person's place
    play.py          a turn → parts of an answer, in time   (text, tool calls, stalls, faults)
    answering.py     the life of one answer, whichever face it goes out by
    anthropic/       the Anthropic Messages face: request → conversation, parts → SSE or JSON
    openai/          the same for OpenAI's Responses and Chat Completions, which OpenRouter speaks as well
    ledger.py        what was asked and what was served, to the token
    server.py        the HTTP server around the faces

Another provider's API is another face: a package beside these, over the same scripts.
"""
