"""The shadow: a draft that decides beside the active playbook, without effect."""
