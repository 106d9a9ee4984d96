//! What fence and fence-init share: the [protocol] between them. The binary is `main.rs`.

pub mod protocol;
