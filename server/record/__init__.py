"""Decision records: kept in files, and decided again."""
