"""The Anthropic Messages face: requests → conversations, parts of an answer → server-sent events or one JSON body."""
