"""What an error message means at the line that raised it."""

from dispatch_runner.agents.debug.explain.explain import explain
from dispatch_runner.agents.debug.explain.site import Explanation, Origin, Site

__all__ = ["Explanation", "Origin", "Site", "explain"]
