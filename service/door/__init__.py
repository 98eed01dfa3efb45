"""The door: connections before anything is known of their requests. Limits of bytes and time, TLS, open files."""
