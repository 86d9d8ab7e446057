//! The pages and the code agree: the manual, its recipes, the diagrams, the catalogue of faults, the figures, and the
//! imports.

#[path = "../common/mod.rs"]
mod common;
mod design;
mod figures;
mod layering;
mod manual;
mod recipes;
mod tour;
