"""Reports of files on disk: `lossmeter report` and `lossmeter merge`, by the core that the service has too."""
