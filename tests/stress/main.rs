//! Crowds, floods and exhaustion. This binary raises its own limit of open files, and needs the machine for itself.

#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod under_stress;
