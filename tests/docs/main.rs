//! The pages and the code agree: the manual, its recipes, the diagrams, the catalogue of faults, the figures, and the
//! imports.

mod api;
mod bench_figures;
mod commands;
#[path = "../common/mod.rs"]
mod common;
mod design;
mod layering;
mod manual;
mod recipes;
mod tour;
