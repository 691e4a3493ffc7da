"""Whether a Python text keeps the rules of ONEX nodes, judged by its syntax tree."""

from dispatch_runner.analysis.onex.check import Compliance, RuleResult, Violation, check_onex

__all__ = ["Compliance", "RuleResult", "Violation", "check_onex"]
