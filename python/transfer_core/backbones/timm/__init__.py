"""timm's models, with the list of what it publishes; `source` comes first."""
