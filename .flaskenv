# What `python -m flask run` needs to find the service and to listen where it would. On this machine
# alone by default: with --debug, whoever reaches it may run anything. The image sets APP_HOST.
FLASK_APP=app:create_app
FLASK_RUN_HOST=${APP_HOST:-127.0.0.1}
FLASK_RUN_PORT=${APP_PORT:-5000}
