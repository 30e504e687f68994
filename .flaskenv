# What `python -m flask run` needs to find the service and to listen like the container does.
FLASK_APP=app:create_app
FLASK_RUN_HOST=0.0.0.0
FLASK_RUN_PORT=${APP_PORT:-5000}
