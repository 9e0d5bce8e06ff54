"""Images from URLs, without becoming a way to the inside."""
