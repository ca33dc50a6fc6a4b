"""Every setting of every command, declared once: `fields` says how, `commands` who reads which group."""
