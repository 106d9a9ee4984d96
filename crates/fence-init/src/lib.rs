//! What fence and fence-init share: the [protocol] between them and its [frame]s. The binary is `main.rs`.

pub mod frame;
pub mod protocol;

#[cfg(test)]
mod fixture_tests;
