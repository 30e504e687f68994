"""What the service needs of gunicorn beyond settings; `gunicorn.conf.py` puts it in place."""
