"""The OpenAI faces: Responses and Chat Completions.

pieces.py      what both requests come down to: who said what, piece by piece → a conversation and its size
responses.py   the Responses API: request → pieces;   responses_answer.py   parts → SSE or JSON
chat.py        Chat Completions: request → pieces;    chat_answer.py        parts → SSE or JSON
errors.py      what is refused, and how that is told
face.py        the routes
"""
