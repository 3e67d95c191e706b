"""Named studies as YAML files, for `sparsedense compare`."""
