"""Pure decisions: desired, observed and now in; a plan with typed reasons out. One file per subject."""
