"""What users write: model classes and their tasks. Nothing here knows a server, and a class is testable without one."""
