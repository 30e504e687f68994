"""The template's machinery: what serves, observes and looks after the service that `app` is."""
