//! A core and nodes below their own roots, with Debian's etcd on loopback: who is let in, what each may do, and what
//! becomes of those who are put out.

mod accounts;
mod admission;
mod backup;
mod completing;
mod following;
mod harness;
mod images;
mod knocking;
mod leaving;
mod membership;
mod moving;
mod registry;
mod rights;
mod setup;
