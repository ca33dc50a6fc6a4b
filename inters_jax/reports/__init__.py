"""Everything a person looks at: tables and their writings, charts, HTML pages."""
