"""The console's pages under /app: each calls the same services as the API and renders a template."""
