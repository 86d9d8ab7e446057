//! The pages and the code agree: the manual, its recipes, the diagrams, the catalogue of faults, and the imports.

mod api;
#[path = "../common/mod.rs"]
mod common;
mod design;
mod layering;
mod manual;
mod recipes;
mod tour;
