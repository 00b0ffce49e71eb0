"""The commands, one module for each group. Each prints what a `Backend` answers, so it need not know which one."""
