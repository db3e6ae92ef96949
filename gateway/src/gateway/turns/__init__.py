"""Running turns and following them: two different jobs, often done by different replicas."""
