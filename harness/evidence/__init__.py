"""From what differs to proof: findings, smallest cases, scripts, and the issues that are known."""
