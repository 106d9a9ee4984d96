//! A memory of an engine, for tests of what is built upon one.
