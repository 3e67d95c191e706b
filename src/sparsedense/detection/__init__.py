"""What happens when in untrimmed video: skim and zoom, segments from scores, and how good they are."""
