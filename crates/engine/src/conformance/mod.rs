//! What every engine promises, as functions that are run on each.
