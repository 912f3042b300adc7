"""The robustness audit of a run: what a share of manipulated training images could do to it."""

from dipole.runs.audit.poison import AuditSettings, audit_poisoning

__all__ = ["AuditSettings", "audit_poisoning"]
