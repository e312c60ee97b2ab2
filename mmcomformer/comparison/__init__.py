"""Methods of one scenario, trained alike and put into one table."""
