"""What is remembered: conversations, facts (graph memory), mentions."""
