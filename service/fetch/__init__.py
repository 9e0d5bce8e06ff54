"""Images from URLs, without becoming a door to the inside."""
