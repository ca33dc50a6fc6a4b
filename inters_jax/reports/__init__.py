"""Everything that people read: tables in several formats, charts and HTML pages."""
