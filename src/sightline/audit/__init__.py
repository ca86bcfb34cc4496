"""Audit: where does a model look, over a whole data set, and does it look where it should?"""

from sightline.audit.auditing import audit
from sightline.audit.found import (
    Audit,
    Change,
    ClassAudit,
    Estimate,
    Example,
    Gap,
    Group,
    Hidden,
    Level,
    Look,
    Region,
    Share,
    Verdict,
)  # fmt: skip
from sightline.audit.kept import save_evidence
from sightline.audit.places import Marks

__all__ = [
    "Audit", "Change", "ClassAudit", "Estimate", "Example", "Gap", "Group", "Hidden", "Level", "Look", "Marks",
    "Region", "Share", "Verdict", "audit", "save_evidence",
]  # fmt: skip
