"""The explorer: read-only web pages about a home, served to this machine. `docs/explorer.md` describes them."""
