"""How gunicorn serves a WSGI application: its settings and what it needs beyond them.

Nothing here imports Flask or a database.
"""
