"""Audit: where does a model look, over a whole data set, and does it look where it should?"""

from sightline.audit.found import Audit, Change, ClassAudit, Estimate, Group, Hidden, Level, Region, Share, Verdict

__all__ = ["Audit", "Change", "ClassAudit", "Estimate", "Group", "Hidden", "Level", "Region", "Share", "Verdict"]
