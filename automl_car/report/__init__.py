"""What is shown of a search: tables for a terminal, JSON for scripts."""
