"""The user behind a credential, and the end of the credential: the auth-service's introspection and revocations."""
