"""What a run would do, cost and take, before it starts."""
