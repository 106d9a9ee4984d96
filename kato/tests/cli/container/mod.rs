//! `kato container` against a fence of a script: what is asked, what is printed, and the exit codes.

mod fence;
mod life;
mod reattach;
mod streams;
mod terminal;
