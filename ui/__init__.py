"""The chat page: Chainlit's front end over the same core as the API. Nothing else of the house imports Chainlit."""
