"""What a stranger's file may cost: told from its bytes, and kept to in processes that can be ended."""
