"""Real clusters on this machine, for tests and to play with: Spark standalone, and Hadoop (HDFS and YARN)."""
