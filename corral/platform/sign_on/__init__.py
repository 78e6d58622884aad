"""Signing in with a company's OpenID provider: who may, how a browser is led there and back, and who comes back."""
