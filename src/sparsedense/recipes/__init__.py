"""Named experiments as YAML files."""
