"""Our server beside the systems a user would pick instead, in one run on two cores."""
