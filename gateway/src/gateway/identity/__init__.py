"""Who a credential belongs to, and until when: the auth-service's introspection and its revocations."""
