"""The SystemTap engine: scripts for a session, and what runs and reads them."""
