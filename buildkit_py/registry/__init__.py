"""Images from elsewhere: the OCI distribution protocol, layouts and archives."""
