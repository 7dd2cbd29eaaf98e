"""Playbooks: an author's YAML, validated with every fault at its place, compiled to a plan.

Nothing is imported here: the serving process reads faults and folders and needs neither CEL
nor YAML.  `run` (a playbook's own tests) needs the native engine.
"""
