"""Hostile requests over all protocols, against one real server: none may crash it, none may cost others an answer."""
