"""The one level-driven loop: observe, plan, apply, judge, report."""
