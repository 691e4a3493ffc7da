"""What several backends need: programs, prompts, failures, prices, budgets."""
